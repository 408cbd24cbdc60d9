//! When deletions look like a mistake at the source: a lost right, an empty view, a restored database.

/// Whether so many rows gone from a tenant that had `live` of them look like a mistake rather than like deletions.
#[must_use]
pub const fn is_mass_delete(gone: i64, live: i64) -> bool {
    const PERCENT: i64 = 5;
    gone > TOLERATED_ROWS && gone * 100 > live * PERCENT
}

/// So many rows of a tenant may always go.
pub const TOLERATED_ROWS: i64 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mass_delete_is_both_many_and_a_large_part() {
        assert!(!is_mass_delete(50, 60), "few");
        assert!(!is_mass_delete(51, 2_000), "a small part");
        assert!(is_mass_delete(51, 1_000));
        assert!(is_mass_delete(1_000, 1_000), "everything");
    }
}
