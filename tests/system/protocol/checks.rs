//! Explores the model completely: within the limits, every state is visited.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};
use tidemark_shared::run::RunType;

use super::model::{Fleet, State};
use super::properties::{ENDS, ENDS_ONCE, FORWARD, HELD, LOST, TERMINAL, WATERMARK, ZOMBIE};
use super::transition::{Guard, Protocol};

const ONE_RUN: Fleet = Fleet {
    protocol: Protocol {
        max_lost: 2,
        without: None,
    },
    keys: 2,
    second: None,
    workers: 2,
    finalizers: 2,
    faults: 2,
    max_failures: 2,
};

/// Faults in addition to the test's: `make model` sets them.
#[expect(
    clippy::disallowed_methods,
    reason = "the bounds of a test are named by the environment"
)]
fn more_faults() -> u8 {
    std::env::var("TIDEMARK_MODEL_MORE_FAULTS").map_or(0, |text| text.parse().expect("a small number"))
}

/// True when a path through the states returns to a state on it.
fn has_circle(fleet: &Fleet) -> bool {
    let fingerprint = |state: &State| BuildHasherDefault::<DefaultHasher>::default().hash_one(state);
    let mut begun = HashSet::new();
    let mut on_the_way = HashSet::new();
    // each state of the path, with its successors that are still to be visited
    let mut way = vec![(0, fleet.init_states())];
    while let Some((at, ahead)) = way.last_mut() {
        let Some(state) = ahead.pop() else {
            on_the_way.remove(at);
            way.pop();
            continue;
        };
        let next = fingerprint(&state);
        if on_the_way.contains(&next) {
            return true;
        }
        if begun.insert(next) {
            on_the_way.insert(next);
            way.push((next, fleet.next_states(&state)));
        }
    }
    false
}

fn check(fleet: Fleet) {
    let fleet = Fleet {
        faults: fleet.faults + more_faults(),
        ..fleet
    };
    eprintln!("{fleet:?}");
    // the checker does not notice a run that circles without an end
    assert!(!has_circle(&fleet));
    let began = Instant::now();
    let checker = fleet.checker().spawn_bfs().join();
    eprintln!(
        "{} states, {} transitions, at most {} steps deep, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f64()
    );
    checker.assert_properties();
}

#[test]
fn one_run_of_two_chunks_on_two_workers() {
    check(ONE_RUN);
}

#[test]
fn one_run_of_three_chunks_on_two_workers() {
    check(Fleet {
        keys: 3,
        faults: 1,
        ..ONE_RUN
    });
}

#[test]
fn two_runs_that_move_the_watermark() {
    check(Fleet {
        second: Some(RunType::Incremental),
        faults: 1,
        ..ONE_RUN
    });
}

#[test]
fn a_resync_beside_an_incremental_run() {
    check(Fleet {
        second: Some(RunType::Resync),
        faults: 1,
        ..ONE_RUN
    });
}

/// The checker finds the path that the guard prevents.
fn is_found(fleet: Fleet, without: Guard, property: &'static str) {
    let fleet = Fleet {
        protocol: Protocol {
            without: Some(without),
            ..ONE_RUN.protocol
        },
        ..fleet
    };
    let checker = fleet
        .checker()
        .finish_when(HasDiscoveries::AllOf(std::iter::once(property).collect()))
        .spawn_bfs()
        .join();
    eprintln!(
        "without {without:?}, found after {} states:\n{}",
        checker.unique_state_count(),
        checker.assert_any_discovery(property)
    );
}

/// Every guard of the table is needed, and the checker finds its absence.
#[test]
fn every_guard_is_missed_when_it_is_left_out() {
    for (guard, property) in [
        (Guard::Attempt, ZOMBIE),
        (Guard::CompleteRunning, TERMINAL),
        (Guard::ClaimWaiting, HELD),
        (Guard::Lease, HELD),
        (Guard::RescueLost, ENDS),
        (Guard::RescueQueued, ENDS),
        (Guard::LostLimit, LOST),
        (Guard::CloseByQuery, WATERMARK),
        (Guard::CloseOnce, ENDS_ONCE),
    ] {
        is_found(ONE_RUN, guard, property);
    }
    let two_runs = Fleet {
        second: Some(RunType::Incremental),
        faults: 0,
        ..ONE_RUN
    };
    is_found(two_runs, Guard::CompareAndSet, FORWARD);
}
