//! Transform and encode without a server: time and allocations for each row. `cargo bench -p tidemark-benches`.

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use tidemark_benches::rows::{samples, tenant};
use tidemark_worker::row::encode::CopyEncoder;
use tidemark_worker::transform::transform;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const ROWS: usize = 1000;

fn main() {
    divan::main();
}

/// Folds the messages of a conversation.
#[divan::bench]
fn fold(bencher: Bencher) {
    let samples = samples(ROWS);
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        for sample in &samples {
            black_box(sample.fold());
        }
    });
}

/// The whole transform.
#[divan::bench]
fn transformed(bencher: Bencher) {
    let (samples, tenant) = (samples(ROWS), tenant());
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        for sample in &samples {
            black_box(transform(&tenant, &sample.conversation, sample.fold(), None).is_ok());
        }
    });
}

/// The transform, and encoding the row in binary COPY format with its hash, into a reused buffer.
#[divan::bench]
fn transformed_and_encoded(bencher: Bencher) {
    let (samples, tenant) = (samples(ROWS), tenant());
    let mut encoder = CopyEncoder::new();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        encoder.clear();
        for sample in &samples {
            sample.encode(&tenant, &mut encoder);
        }
        black_box(encoder.byte_count());
    });
}
