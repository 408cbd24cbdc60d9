//! Files that only their owner may read.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use secrecy::ExposeSecret;
use tidemark_net::url::ServerUrl;

const OWNER_ONLY: u32 = 0o600;
const OWNER_ONLY_DIR: u32 = 0o700;

/// Writes a file with mode 0600. `replace` puts it into the place of another one in one step.
pub fn write_private(path: &Path, text: &str, replace: bool) -> anyhow::Result<()> {
    let place = || format!("write {}", path.display());
    if !replace {
        return create(path, text).with_context(place);
    }
    let mut name = path
        .file_name()
        .context("name a file")
        .with_context(place)?
        .to_owned();
    name.push(format!(".{:08x}", rand::random::<u32>()));
    let beside = path.with_file_name(name);
    create(&beside, text).with_context(place)?;
    std::fs::rename(&beside, path)
        .inspect_err(|_| drop(std::fs::remove_file(&beside)))
        .with_context(place)
}

pub fn write_secret(path: &Path, url: &ServerUrl, replace: bool) -> anyhow::Result<()> {
    write_private(path, &format!("{}\n", url.secret().expose_secret()), replace)
}

/// Creates the folder if it is missing; returns its whole path.
pub fn private_dir(path: &Path) -> anyhow::Result<PathBuf> {
    let mut builder = DirBuilder::new();
    builder
        .recursive(true)
        .mode(OWNER_ONLY_DIR)
        .create(path)
        .and_then(|()| path.canonicalize())
        .with_context(|| format!("make the folder {}", path.display()))
}

fn create(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(OWNER_ONLY)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
