//! Macros and values that the ledger's statements share.

use tidemark_shared::chunk::ChunkSpec;

/// Declares a module's statements as constants, and the list of them.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)*) => {
        $($(#[$doc])* const $name: &str = $text;)*

        pub(crate) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}
pub(crate) use statements;

/// The values of a filter; an empty filter means all.
pub const fn or_all<'a, T>(named: &'a [T], all: &'a [T]) -> &'a [T] {
    if named.is_empty() { all } else { named }
}

/// Seconds as PostgreSQL's `make_interval(secs => …)` takes them.
pub const fn secs(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64()
}

/// A chunk's keys as statements take them: ids, or a range.
pub fn chunk_keys(spec: &ChunkSpec) -> (&[i64], Option<i64>, Option<i64>) {
    match spec {
        ChunkSpec::Keys { ids } => (ids, None, None),
        ChunkSpec::KeyRange { lo, hi } => (&[], Some(*lo), Some(*hi)),
    }
}
