//! The start of a listing: an instant or an age.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// The longest age that the ledger can subtract from its clock.
const LONGEST_AGO: Duration = Duration::from_secs(36_500 * 24 * 3600);

/// An instant, or an age by the ledger's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    At(DateTime<Utc>),
    Ago(Duration),
}

impl Since {
    /// The parameters of a statement: an instant or seconds before now.
    #[must_use]
    pub const fn split(this: Option<Self>) -> (Option<DateTime<Utc>>, Option<f64>) {
        match this {
            None => (None, None),
            Some(Self::At(instant)) => (Some(instant), None),
            Some(Self::Ago(ago)) => (None, Some(ago.as_secs_f64())),
        }
    }
}

impl std::str::FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(ago) = humantime::parse_duration(text) {
            if ago > LONGEST_AGO {
                return Err(format!("`{text}` is more than 100 years ago"));
            }
            return Ok(Self::Ago(ago));
        }
        DateTime::parse_from_rfc3339(text)
            .map(|instant| Self::At(instant.to_utc()))
            .map_err(|_| {
                format!("`{text}` is neither an instant such as 2026-01-31T08:00:00Z nor an age such as 2h")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_and_an_instant_are_told_apart() {
        assert_eq!("90m".parse(), Ok(Since::Ago(Duration::from_secs(5_400))));
        assert_eq!(
            "1970-01-01T01:00:00+01:00".parse(),
            Ok(Since::At(DateTime::UNIX_EPOCH))
        );
        for text in ["", "yesterday", "2026-01-31", "-5m", "400years"] {
            assert!(text.parse::<Since>().is_err(), "{text}");
        }
    }
}
