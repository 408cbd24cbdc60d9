//! Compares the clocks. A difference loses no data, but misleads people and metrics.

use std::time::{Instant, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use tidemark_postgres::connect::ClockReading;
use tidemark_runtime::finding::Finding;

use super::report::Group;

const TOLERANCE: TimeDelta = TimeDelta::seconds(30);

/// Compares every clock with the first one.
pub(super) fn group(clocks: &[(String, ClockReading)]) -> Group {
    let mut findings = Vec::new();
    let Some(((first, reference), others)) = clocks.split_first() else {
        let finding = Finding::not_checked("clock", "no server's clock could be read");
        return Group::new("clocks", None, vec![finding]);
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "this machine's clock is only compared, and decides nothing"
    )]
    let here = ClockReading {
        clock: DateTime::<Utc>::from(SystemTime::now()),
        read_at: Instant::now(),
    };
    let here = ("this machine".to_owned(), here);
    for (name, clock) in others.iter().chain([&here]) {
        let ahead = clock.ahead_of(reference);
        if ahead.abs() <= TOLERANCE {
            continue;
        }
        let (seconds, side) = (
            ahead.num_seconds().abs(),
            if ahead > TimeDelta::zero() {
                "ahead of"
            } else {
                "behind"
            },
        );
        let effect = if name == "this machine" {
            "times in the logs and traces of this machine do not match the others"
        } else {
            "no data is lost, but `behind`, `late` and the lag of watermarks are wrong by as much"
        };
        findings.push(
            Finding::warning(
                "clock",
                format!("the clock of {name} is {seconds} s {side} that of {first}: {effect}"),
            )
            .todo("timedatectl status   # on both: does NTP set either?"),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            "clock",
            format!("all within {} s of each other", TOLERANCE.num_seconds()),
        ));
    }
    Group::new("clocks", None, findings)
}
