//! Detects deletions that look like a mistake in the source: a lost privilege, an empty view, a restored database.

/// Whether `gone` of a tenant's `live` rows are so many that it looks like a mistake.
#[must_use]
pub const fn is_mass_delete(gone: i64, live: i64) -> bool {
    const PERCENT: i64 = 5;
    gone > TOLERATED_ROWS && gone * 100 > live * PERCENT
}

/// The number of rows of a tenant that may always be deleted.
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
