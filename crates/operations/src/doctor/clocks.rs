//! Compares the clocks. A difference loses no data, but misleads people and metrics.

use std::time::{Instant, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use tidemark_postgres::connect::ClockReading;
use tidemark_runtime::finding::{Check, ClockOf, Finding, Found};

use super::report::{Group, GroupName};

const TOLERANCE: TimeDelta = TimeDelta::seconds(30);

/// Compares every clock with the first one.
pub(super) fn group(clocks: &[(ClockOf, ClockReading)]) -> Group {
    let mut findings = Vec::new();
    let Some(((first, reference), others)) = clocks.split_first() else {
        let finding = Finding::skipped(Check::Clock, Found::NoClock);
        return Group::new(GroupName::Clocks, None, vec![finding]);
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "this machine's clock is only compared, and decides nothing"
    )]
    let here = ClockReading {
        clock: DateTime::<Utc>::from(SystemTime::now()),
        read_at: Instant::now(),
    };
    let here = (ClockOf::Here, here);
    for (name, clock) in others.iter().chain([&here]) {
        let ahead = clock.ahead_of(reference);
        if ahead.abs() <= TOLERANCE {
            continue;
        }
        let found = Found::ClockOff {
            of: name.clone(),
            than: first.clone(),
            seconds: ahead.num_seconds().abs(),
            ahead: ahead > TimeDelta::zero(),
        };
        findings.push(
            Finding::warning(Check::Clock, found)
                .todo("timedatectl status   # on both: does NTP set either?"),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            Check::Clock,
            Found::ClocksTogether(TOLERANCE.num_seconds()),
        ));
    }
    Group::new(GroupName::Clocks, None, findings)
}
