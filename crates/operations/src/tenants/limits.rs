//! The ranges of a tenant's settings, which the ledger checks too. A front end that takes any number gets an error that names
//! the range.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use humantime::format_duration;
use tidemark_shared::tenant::{
    CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, INTERVAL_MAX, INTERVAL_MIN, MAX_IN_FLIGHT_MAX,
};

use crate::error::OperationResult;
use crate::refusal::{Limit, Refusal};

/// Settings of a tenant that have a range; `None` is not checked.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limited {
    pub chunk_size: Option<i32>,
    pub max_in_flight: Option<i32>,
    pub sync_interval: Option<Duration>,
    pub verify_interval: Option<Duration>,
}

impl Limited {
    pub fn check(self) -> OperationResult<()> {
        chunk_size(self.chunk_size)?;
        check(
            Limit::InFlight,
            self.max_in_flight,
            1..=MAX_IN_FLIGHT_MAX,
            |number| number,
        )?;
        for (limit, interval) in [
            (Limit::SyncInterval, self.sync_interval),
            (Limit::VerifyInterval, self.verify_interval),
        ] {
            check(limit, interval, INTERVAL_MIN..=INTERVAL_MAX, format_duration)?;
        }
        Ok(())
    }
}

/// Checks the size of a run's chunks.
pub(crate) fn chunk_size(size: Option<i32>) -> OperationResult<()> {
    check(
        Limit::ChunkSize,
        size,
        CHUNK_SIZE_MIN..=CHUNK_SIZE_MAX,
        |number| number,
    )
}

fn check<T: PartialOrd + Copy, D: Display>(
    limit: Limit,
    value: Option<T>,
    range: RangeInclusive<T>,
    show: impl Fn(T) -> D,
) -> OperationResult<()> {
    match value {
        Some(value) if !range.contains(&value) => Err(Refusal::OutOfRange {
            limit,
            value: show(value).to_string(),
            least: show(*range.start()).to_string(),
            most: show(*range.end()).to_string(),
        }
        .into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_range_is_refused_with_its_range() {
        let check = |limited: Limited| limited.check().map_err(|error| error.to_string());
        assert_eq!(check(Limited::default()), Ok(()));
        let size = Limited {
            chunk_size: Some(0),
            ..Limited::default()
        };
        assert_eq!(
            check(size),
            Err("conversations per chunk: 0 is not between 1 and 50000".to_owned())
        );
        let interval = Limited {
            sync_interval: Some(Duration::ZERO),
            ..Limited::default()
        };
        let error = check(interval).unwrap_err();
        assert!(
            error.contains("the time between two syncs: 0s is not between 1s and"),
            "{error}"
        );
    }
}
