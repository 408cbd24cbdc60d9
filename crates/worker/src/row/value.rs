//! PostgreSQL's types without an equivalent in Rust.

use tidemark_postgres::source_time::SourceTime;

/// A `date`. chrono's dates do not cover all years of PostgreSQL's timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(i32);

impl Date {
    /// The date of a time, ignoring time zones; `None` when the time is infinite.
    #[must_use]
    pub fn of(time: SourceTime) -> Option<Self> {
        const MICROS_OF_DAY: i64 = 86_400_000_000;
        let days = time
            .is_finite()
            .then(|| time.micros().div_euclid(MICROS_OF_DAY))?;
        i32::try_from(days).ok().map(Self)
    }

    /// Days since 2000-01-01.
    #[must_use]
    pub const fn days(self) -> i32 {
        self.0
    }
}

/// JSON text, for a `jsonb` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// A value of `numeric(PRECISION, SCALE)`, stored in units of its last decimal place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Numeric<const PRECISION: u32, const SCALE: u32>(i64);

impl<const PRECISION: u32, const SCALE: u32> Numeric<PRECISION, SCALE> {
    pub const ZERO: Self = Self(0);

    /// From units of the last decimal place; `None` when that needs more than `PRECISION` digits.
    #[must_use]
    pub fn from_scaled(scaled: i128) -> Option<Self> {
        let fits = scaled.unsigned_abs() < 10_u128.pow(PRECISION);
        i64::try_from(scaled).ok().filter(|_| fits).map(Self)
    }

    /// The value times ten to the power of `SCALE`.
    #[must_use]
    pub const fn scaled(self) -> i64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numeric_holds_as_many_digits_as_its_column() {
        for scaled in [99_999, -99_999, 0] {
            assert_eq!(
                Numeric::<5, 2>::from_scaled(scaled.into()).map(Numeric::scaled),
                Some(scaled)
            );
        }
        for scaled in [100_000, -100_000, i128::MAX, i128::MIN] {
            assert_eq!(Numeric::<5, 2>::from_scaled(scaled), None);
        }
    }
}
