//! Encodes values for PostgreSQL's binary COPY. Every value starts with its length, and a NULL has the length -1.

use std::borrow::Cow;

use tidemark_postgres::source_time::SourceTime;
use uuid::Uuid;

use super::value::{Date, Json, Numeric};

const INTEGER_OID: i32 = 23;
const TEXT_OID: i32 = 25;

/// Writes a value's length and the value.
pub(crate) fn write_field<T: CopyValue>(value: &T, out: &mut Vec<u8>) {
    if value.is_null() {
        return (-1_i32).write(out);
    }
    let start = out.len();
    0_i32.write(out);
    value.write(out);
    let length = out.len() - start - 4;
    out[start..start + 4].copy_from_slice(&count(length).to_be_bytes());
}

/// A count of bytes or elements in PostgreSQL's type.
fn count(count: usize) -> i32 {
    i32::try_from(count).expect("the transform bounds every value")
}

/// Writes a value in the binary format of its PostgreSQL type.
pub(crate) trait CopyValue {
    fn is_null(&self) -> bool {
        false
    }

    fn write(&self, out: &mut Vec<u8>);
}

impl<T: CopyValue> CopyValue for Option<T> {
    fn is_null(&self) -> bool {
        self.is_none()
    }

    fn write(&self, out: &mut Vec<u8>) {
        if let Some(value) = self {
            value.write(out);
        }
    }
}

impl CopyValue for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl CopyValue for i16 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
}

impl CopyValue for i32 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
}

impl CopyValue for i64 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
}

impl CopyValue for &str {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

impl CopyValue for Cow<'_, str> {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

impl CopyValue for String {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

/// `jsonb`: a version number, then the text.
impl<T: CopyValue> CopyValue for Json<T> {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(1);
        self.0.write(out);
    }
}

impl CopyValue for Uuid {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

/// `timestamptz` has the same encoding as the source's `timestamp` in UTC.
impl CopyValue for SourceTime {
    fn write(&self, out: &mut Vec<u8>) {
        self.micros().write(out);
    }
}

impl CopyValue for Date {
    fn write(&self, out: &mut Vec<u8>) {
        self.days().write(out);
    }
}

impl CopyValue for Vec<&str> {
    fn write(&self, out: &mut Vec<u8>) {
        write_array(TEXT_OID, self, out);
    }
}

impl CopyValue for &[i32] {
    fn write(&self, out: &mut Vec<u8>) {
        write_array(INTEGER_OID, self, out);
    }
}

/// An array: one dimension with the lower bound 1, or no dimension when empty.
fn write_array<T: CopyValue>(oid: i32, elements: &[T], out: &mut Vec<u8>) {
    i32::from(!elements.is_empty()).write(out);
    let has_nulls: i32 = 0;
    has_nulls.write(out);
    oid.write(out);
    if elements.is_empty() {
        return;
    }
    count(elements.len()).write(out);
    let lower_bound: i32 = 1;
    lower_bound.write(out);
    for element in elements {
        write_field(element, out);
    }
}

/// `numeric`: digits to the base 10,000 without leading or trailing zeros, and the exponent of the first.
impl<const PRECISION: u32, const SCALE: u32> CopyValue for Numeric<PRECISION, SCALE> {
    fn write(&self, out: &mut Vec<u8>) {
        const BASE: u64 = 10_000;
        // one digit has the whole fraction
        const { assert!(SCALE <= 4) };
        let unit = 10_u64.pow(SCALE);
        let magnitude = self.scaled().unsigned_abs();

        // last digit first; the whole part of any i64 needs five digits at most
        let mut digits = [0_u64; 6];
        digits[0] = magnitude % unit * (BASE / unit);
        let mut whole = magnitude / unit;
        let (mut count, mut weight) = (1, -1_i64);
        while whole > 0 {
            digits[count] = whole % BASE;
            whole /= BASE;
            count += 1;
            weight += 1;
        }
        let zeros = digits[..count].iter().take_while(|digit| **digit == 0).count();
        let digits = &digits[zeros..count];
        if digits.is_empty() {
            weight = 0;
        }

        let negative = if self.scaled() < 0 { 0x4000 } else { 0 };
        // every word has two bytes, which are enough for these numbers
        let mut word = |number: u64| out.extend_from_slice(&number.to_be_bytes()[6..]);
        word(digits.len() as u64);
        word(weight.cast_unsigned());
        word(negative);
        word(SCALE.into());
        for digit in digits.iter().rev() {
            word(*digit);
        }
    }
}
