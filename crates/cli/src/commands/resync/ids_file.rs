//! Reads a file of ids.

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use tidemark_operations::ids::{IdReader, IdsError};

use crate::exit::UsageError;

const BUFFER: usize = 64 * 1024;

/// Reads ids from a file, or from stdin for `-`.
pub fn read(path: &Path) -> anyhow::Result<Vec<i64>> {
    if path == Path::new("-") {
        return read_from(path, std::io::stdin().lock());
    }
    let file =
        std::fs::File::open(path).map_err(|error| UsageError(format!("open {}: {error}", path.display())))?;
    read_from(path, file)
}

fn read_from(path: &Path, mut input: impl Read) -> anyhow::Result<Vec<i64>> {
    let mut reader = IdReader::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = input
            .read(&mut buffer)
            .with_context(|| format!("read ids from {}", path.display()))?;
        if read == 0 {
            return Ok(reader.finish().map_err(explain)?);
        }
        reader.push(&buffer[..read]).map_err(explain)?;
    }
}

fn explain(error: IdsError) -> UsageError {
    UsageError(match error {
        IdsError::TooMany => {
            format!("{}: --from and --to, --inbox, or --all-rows", IdsError::TooMany)
        }
        error => error.to_string(),
    })
}
