//! Rounding half away from zero, without floats.

use crate::row::value::Numeric;

/// `numerator / denominator` as a whole number.
///
/// # Panics
/// When `denominator` is 0.
pub(super) fn divide(numerator: i128, denominator: i128) -> i128 {
    let (quotient, rest) = (numerator / denominator, numerator % denominator);
    let half_or_more = rest.unsigned_abs() >= denominator.unsigned_abs() - rest.unsigned_abs();
    match half_or_more {
        true if (numerator < 0) == (denominator < 0) => quotient + 1,
        true => quotient - 1,
        false => quotient,
    }
}

/// Microseconds as whole seconds; `None` when they do not fit in an `integer`.
pub(super) fn whole_seconds(micros: i128) -> Option<i32> {
    i32::try_from(divide(micros, 1_000_000)).ok()
}

/// `numerator / denominator` with the decimal places of a column; `None` when it does not fit in the column or
/// `denominator` is 0.
pub(super) fn quotient<const PRECISION: u32, const SCALE: u32>(
    numerator: i128,
    denominator: i128,
) -> Option<Numeric<PRECISION, SCALE>> {
    let scaled = numerator.checked_mul(10_i128.pow(SCALE))?;
    (denominator != 0)
        .then(|| divide(scaled, denominator))
        .and_then(Numeric::from_scaled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_away_from_zero() {
        for (numerator, denominator, rounded) in [
            (0, 3, 0),
            (1, 3, 0),
            (2, 3, 1),
            (1, 2, 1),
            (-1, 2, -1),
            (1, -2, -1),
            (-1, -2, 1),
            (-1, 3, 0),
            (-2, 3, -1),
            (3, 2, 2),
            (5, 2, 3),
            (-5, 2, -3),
            (499_999, 1_000_000, 0),
            (-1_499_999, 1_000_000, -1),
            (7, 1, 7),
            (i128::MAX, 1, i128::MAX),
            (i128::MIN, 1, i128::MIN),
        ] {
            assert_eq!(
                divide(numerator, denominator),
                rounded,
                "{numerator} / {denominator}"
            );
        }
    }

    #[test]
    fn a_quotient_rounds_in_its_last_place() {
        for (numerator, denominator, scaled) in
            [(1, 3, 33), (2, 3, 67), (1, 8, 13), (-1, 8, -13), (1, 1, 100)]
        {
            assert_eq!(
                quotient::<5, 2>(numerator, denominator).map(Numeric::scaled),
                Some(scaled)
            );
        }
        assert_eq!(quotient::<5, 2>(1, 0), None);
        assert_eq!(quotient::<5, 2>(1_000, 1), None);
        assert_eq!(quotient::<5, 2>(i128::MAX, 1), None);
    }
}
