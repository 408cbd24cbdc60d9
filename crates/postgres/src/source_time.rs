//! Timestamps of the source, over PostgreSQL's whole range.
//!
//! Bad imports leave `infinity` or the year 294276 behind. No date library supports those, and one such value must not
//! reject a row. So they are kept as the number that PostgreSQL itself stores.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Utc};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};

#[cfg(test)]
mod tests;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// 2000-01-01 counted from 1970-01-01.
const UNIX_OFFSET: i64 = 10_957 * DAY;

/// A `timestamp` without zone, in UTC: microseconds since 2000-01-01 00:00:00, and the two infinities.
///
/// Every value is one that PostgreSQL can store, in PostgreSQL's order. `Display` prints the text of `to_json` for a
/// `timestamp` (`2024-01-02T03:04:05.12`), and `FromStr` reads it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceTime(i64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SourceTimeError {
    /// The text is not a timestamp as PostgreSQL prints it, or its zone is not UTC.
    #[error("not a timestamp in UTC as PostgreSQL prints it")]
    Syntax,
    /// The instant is outside the range of PostgreSQL, or of the type that it is converted to.
    #[error("timestamp out of range")]
    OutOfRange,
}

impl SourceTime {
    pub const NEG_INFINITY: Self = Self(i64::MIN);
    pub const INFINITY: Self = Self(i64::MAX);
    /// The first finite instant: 4714-11-24 00:00:00 BC, Julian day 0.
    pub const MIN: Self = Self(-211_813_488_000_000_000);
    /// The last finite instant: 294276-12-31 23:59:59.999999.
    pub const MAX: Self = Self(9_223_371_331_199_999_999);

    /// From microseconds since 2000-01-01; `None` for a number that PostgreSQL has no timestamp for.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Option<Self> {
        match micros {
            i64::MIN | i64::MAX => Some(Self(micros)),
            _ if micros < Self::MIN.0 || micros > Self::MAX.0 => None,
            _ => Some(Self(micros)),
        }
    }

    /// Microseconds since 2000-01-01; `i64::MAX` and `i64::MIN` are the infinities.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    #[must_use]
    pub const fn is_finite(self) -> bool {
        self.0 != i64::MIN && self.0 != i64::MAX
    }

    /// `self - earlier` in microseconds, exactly; `None` when one of the two is infinite.
    ///
    /// Wider than `i64` because the two ends of PostgreSQL's range are further apart than that.
    #[must_use]
    pub fn micros_since(self, earlier: Self) -> Option<i128> {
        (self.is_finite() && earlier.is_finite()).then(|| i128::from(self.0) - i128::from(earlier.0))
    }
}

impl TryFrom<SourceTime> for DateTime<Utc> {
    type Error = SourceTimeError;

    fn try_from(time: SourceTime) -> Result<Self, SourceTimeError> {
        Some(time)
            .filter(|time| time.is_finite())
            .and_then(|time| time.0.checked_add(UNIX_OFFSET))
            .and_then(DateTime::from_timestamp_micros)
            .ok_or(SourceTimeError::OutOfRange)
    }
}

/// Digits below the microsecond are cut off.
impl TryFrom<DateTime<Utc>> for SourceTime {
    type Error = SourceTimeError;

    fn try_from(time: DateTime<Utc>) -> Result<Self, SourceTimeError> {
        Self::from_micros(time.timestamp_micros() - UNIX_OFFSET).ok_or(SourceTimeError::OutOfRange)
    }
}

impl fmt::Display for SourceTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NEG_INFINITY => return f.write_str("-infinity"),
            Self::INFINITY => return f.write_str("infinity"),
            _ => {}
        }
        let (year, month, day) = civil(self.0.div_euclid(DAY));
        let time = self.0.rem_euclid(DAY);
        let seconds = time / SECOND;
        // every message has one, and formatting number by number is slow
        let mut text = *b"0000-00-00T00:00:00.000000";
        put(&mut text[..4], year);
        put(&mut text[5..7], month);
        put(&mut text[8..10], day);
        put(&mut text[11..13], seconds / 3600);
        put(&mut text[14..16], seconds / 60 % 60);
        put(&mut text[17..19], seconds % 60);
        put(&mut text[20..], time % SECOND);
        let mut length = text.len();
        while text[length - 1] == b'0' && length > 20 {
            length -= 1;
        }
        let text = std::str::from_utf8(&text[..length]).map_err(|_| fmt::Error)?;
        let text = text.strip_suffix('.').unwrap_or(text);
        match year {
            1..=9999 => f.write_str(text),
            10_000.. => write!(f, "{year}{}", &text[4..]),
            _ => write!(f, "{:04}{} BC", 1 - year, &text[4..]),
        }
    }
}

/// Writes a number into a fixed number of digits; higher digits are cut off.
fn put(place: &mut [u8], number: i64) {
    // a division of 32 bits takes half the instructions
    let mut number = u32::try_from(number).unwrap_or_default();
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

/// Reads the text of `to_json`, and the forms that a view may return: a blank instead of the `T`, and a zone that means
/// UTC (`Z`, `+00`, `+00:00`).
impl FromStr for SourceTime {
    type Err = SourceTimeError;

    fn from_str(text: &str) -> Result<Self, SourceTimeError> {
        match text {
            "-infinity" => return Ok(Self::NEG_INFINITY),
            "infinity" => return Ok(Self::INFINITY),
            _ => {}
        }
        let (text, before_christ) = match text.strip_suffix(" BC") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (date, time) = text.split_once(['T', ' ']).ok_or(SourceTimeError::Syntax)?;
        let days = parse_date(date, before_christ).ok_or(SourceTimeError::Syntax)?;
        let time = ["Z", "+00", "+00:00"]
            .iter()
            .find_map(|zone| time.strip_suffix(zone))
            .unwrap_or(time);
        let time = parse_time(time).ok_or(SourceTimeError::Syntax)?;
        days.checked_mul(DAY)
            .and_then(|micros| micros.checked_add(time))
            .and_then(Self::from_micros)
            .filter(|time| time.is_finite())
            .ok_or(SourceTimeError::OutOfRange)
    }
}

/// Days since 2000-01-01.
fn parse_date(text: &str, before_christ: bool) -> Option<i64> {
    let (rest, day) = text.rsplit_once('-')?;
    let (year, month) = rest.rsplit_once('-')?;
    let (year, month, day) = (digits(year, 4, 6)?, digits(month, 2, 2)?, digits(day, 2, 2)?);
    if year == 0 || !(1..=12).contains(&month) {
        return None;
    }
    let year = if before_christ { 1 - year } else { year };
    let days = days_since_2000(year, month, day);
    // the 31st of April comes back as the 1st of May
    (civil(days) == (year, month, day)).then_some(days)
}

/// Microseconds since midnight.
fn parse_time(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let (hour, rest) = clock.split_once(':')?;
    let (minute, second) = rest.split_once(':')?;
    let (hour, minute, second) = (digits(hour, 2, 2)?, digits(minute, 2, 2)?, digits(second, 2, 2)?);
    let micros = (fraction.len()..6).fold(digits(fraction, 1, 6)?, |micros, _| micros * 10);
    (hour < 24 && minute < 60 && second < 60)
        .then_some(((hour * 60 + minute) * 60 + second) * SECOND + micros)
}

/// A number of `min` to `max` digits and nothing else: no sign, no blanks.
fn digits(text: &str, min: usize, max: usize) -> Option<i64> {
    let plain = (min..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

// The proleptic Gregorian calendar repeats every 400 years. Counted from 1 March 2000, the first day of such a
// cycle, the leap day is the last day of a year, of every fourth year, and so on, and months come in groups of
// five with 153 days. Years are astronomical: 0 is 1 BC.
const CYCLE: i64 = 146_097;
const MARCH_2000: i64 = 60;

/// (year, month, day) of a day counted from 2000-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days - MARCH_2000;
    let in_cycle = days.rem_euclid(CYCLE);
    let year = (in_cycle - in_cycle / 1_460 + in_cycle / 36_524 - in_cycle / (CYCLE - 1)) / 365;
    let in_year = in_cycle - (365 * year + year / 4 - year / 100);
    let march_month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * march_month + 2) / 5 + 1;
    let (month, turn) = if march_month < 10 {
        (march_month + 3, 0)
    } else {
        (march_month - 9, 1)
    };
    (2000 + 400 * days.div_euclid(CYCLE) + year + turn, month, day)
}

/// The inverse of [`civil`]. A day past the end of its month continues in the next month.
fn days_since_2000(year: i64, month: i64, day: i64) -> i64 {
    let (year, march_month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let in_cycle = (year - 2000).rem_euclid(400);
    let in_year = (153 * march_month + 2) / 5 + day - 1;
    (year - 2000).div_euclid(400) * CYCLE + in_cycle * 365 + in_cycle / 4 - in_cycle / 100
        + in_year
        + MARCH_2000
}

impl Type<Postgres> for SourceTime {
    fn type_info() -> PgTypeInfo {
        <NaiveDateTime as Type<Postgres>>::type_info()
    }

    /// A `timestamptz` is the same number.
    fn compatible(ty: &PgTypeInfo) -> bool {
        *ty == <NaiveDateTime as Type<Postgres>>::type_info()
            || *ty == <DateTime<Utc> as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for SourceTime {
    fn array_type_info() -> PgTypeInfo {
        <NaiveDateTime as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for SourceTime {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode(self.0, buf)
    }
}

impl<'r> Decode<'r, Postgres> for SourceTime {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => {
                let micros = Decode::<Postgres>::decode(value)?;
                Ok(Self::from_micros(micros).ok_or(SourceTimeError::OutOfRange)?)
            }
            PgValueFormat::Text => Ok(value.as_str()?.parse()?),
        }
    }
}
