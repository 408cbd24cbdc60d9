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

/// SQL: the rows `a` of tenant `$1` with the keys `$2`, looked up one by one, each as a sorted range of one key. Where the target has no
/// statistics, PostgreSQL would otherwise read all of the tenant's rows and compare each with every key.
macro_rules! rows_by_key {
    () => {
        "(SELECT DISTINCT unnest($2::bigint[]) AS key) k CROSS JOIN LATERAL \
         (SELECT * FROM conversations_analytics r WHERE r.tenant_id = $1 AND r.conversation_id BETWEEN k.key AND k.key \
          ORDER BY r.conversation_id LIMIT 1) a"
    };
}
pub(crate) use rows_by_key;

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
