//! Transforms and encodes rows, and does nothing else that varies, so that callgrind can count its instructions
//! (`scripts/bench/instructions`). The difference between two numbers of rows leaves out the start of the process.

use tidemark_benches::rows::{samples, tenant};
use tidemark_worker::row::encode::CopyEncoder;

fn main() -> anyhow::Result<()> {
    let rounds: usize = std::env::args().nth(1).unwrap_or_default().parse()?;
    let (samples, tenant) = (samples(100), tenant());
    let mut encoder = CopyEncoder::new();
    for _ in 0..rounds {
        encoder.clear();
        for sample in &samples {
            sample.encode(&tenant, &mut encoder);
        }
    }
    anyhow::ensure!(
        rounds == 0 || encoder.row_count() == samples.len(),
        "rows are missing"
    );
    Ok(())
}
