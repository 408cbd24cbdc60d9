//! Conditions that must hold in every state, and states that must be reachable for the conditions to mean anything.

use stateright::Property;
use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::run::{RunStatus, RunType};

use super::model::{Broken, Fleet, State, Worker};
use super::transition::is_terminal;

pub const ONCE: &str = "a chunk takes effect once, and then it is done";
pub const ZOMBIE: &str = "no attempt but the newest commits";
pub const HELD: &str = "no chunk is taken from a worker whose lease holds";
pub const TERMINAL: &str = "a terminal chunk stays what it is";
pub const BEGUN: &str = "no work is begun for a run that has ended";
pub const LOST: &str = "lost leases are bounded";
pub const ENDS_ONCE: &str = "a run ends once: cancelled or success, never both";
pub const SUCCESS: &str = "a successful run has all its chunks done";
pub const OPEN: &str = "an ended run has no queued chunk";
pub const WATERMARK: &str = "no watermark is past a chunk that is not done";
pub const FORWARD: &str = "a watermark never goes back";
pub const ENDS: &str = "every run ends";

pub fn properties(fleet: &Fleet) -> Vec<Property<Fleet>> {
    let mut properties = vec![
        Property::always(ONCE, |_, state: &State| {
            state
                .chunks
                .iter()
                .all(|slot| slot.effects == u8::from(slot.chunk.status == ChunkStatus::Done))
        }),
        Property::always(ZOMBIE, |_, state: &State| {
            state.broken != Some(Broken::StaleCommit)
        }),
        Property::always(HELD, |_, state: &State| {
            state.workers.iter().all(|worker| is_respected(state, worker))
        }),
        Property::always(TERMINAL, |_, state: &State| state.broken != Some(Broken::Revived)),
        Property::always(BEGUN, |_, state: &State| state.broken != Some(Broken::BegunLate)),
        Property::always(LOST, |fleet: &Fleet, state: &State| {
            state.chunks.iter().all(|slot| {
                slot.chunk.lost < fleet.protocol.max_lost
                    || (slot.chunk.lost == fleet.protocol.max_lost && slot.chunk.status == ChunkStatus::Dead)
            })
        }),
        Property::always(ENDS_ONCE, |_, state: &State| {
            state.runs.iter().all(|run| run.ended <= 1)
        }),
        Property::always(SUCCESS, |fleet: &Fleet, state: &State| {
            state.runs.iter().enumerate().all(|(index, run)| {
                run.status != RunStatus::Success
                    || fleet
                        .statuses(state, index)
                        .all(|status| status == ChunkStatus::Done)
            })
        }),
        Property::always(OPEN, |fleet: &Fleet, state: &State| {
            state.runs.iter().enumerate().all(|(index, run)| {
                !run.status.is_terminal()
                    || fleet
                        .statuses(state, index)
                        .all(|status| status != ChunkStatus::Queued)
            })
        }),
        Property::always(WATERMARK, |_, state: &State| {
            state.watermark == 0 || state.target.iter().all(|has| *has)
        }),
        Property::always(FORWARD, |_, state: &State| {
            state.broken != Some(Broken::WatermarkBack)
        }),
        Property::eventually(ENDS, |_, state: &State| {
            state.runs.iter().all(|run| run.status.is_terminal())
        }),
        Property::sometimes("a run succeeds and moves the watermark", |_, state: &State| {
            state.watermark > 0
        }),
    ];
    if fleet.faults >= fleet.protocol.max_lost {
        properties.extend(under_faults());
    }
    if fleet.second.is_some_and(RunType::moves_watermark) {
        properties.push(Property::sometimes(
            "two runs succeed and one of them may not move the watermark",
            |_, state: &State| {
                state
                    .runs
                    .iter()
                    .all(|run| run.status == RunStatus::Success && run.watermark_start == 0)
            },
        ));
    }
    properties
}

fn under_faults() -> [Property<Fleet>; 6] {
    [
        Property::sometimes("a run fails", |_, state: &State| {
            state.runs.iter().any(|run| run.status == RunStatus::Failed)
        }),
        Property::sometimes(
            "a run is cancelled while a worker is at a chunk of it",
            |_, state: &State| {
                state.workers.iter().any(|worker| {
                    matches!(*worker, Worker::Working { chunk, attempt, .. }
                        if state.chunks[chunk].chunk.status == ChunkStatus::Cancelled
                            && state.chunks[chunk].chunk.attempt == attempt)
                })
            },
        ),
        Property::sometimes(
            "a chunk is dead by lost leases",
            |fleet: &Fleet, state: &State| {
                state
                    .chunks
                    .iter()
                    .any(|slot| slot.chunk.lost == fleet.protocol.max_lost)
            },
        ),
        Property::sometimes(
            "a worker without its lease works beside its successor",
            |_, state: &State| {
                state.workers.iter().any(|worker| {
                    matches!(*worker, Worker::Working { chunk, attempt, .. }
                    if attempt < state.chunks[chunk].chunk.attempt
                        && state.chunks[chunk].chunk.status == ChunkStatus::Running)
                })
            },
        ),
        Property::sometimes(
            "the message of a finished chunk is in the queue",
            |_, state: &State| {
                state
                    .chunks
                    .iter()
                    .any(|slot| slot.messages > 0 && is_terminal(slot.chunk.status))
            },
        ),
        Property::sometimes(
            "a chunk waits queued although its message is lost",
            |_, state: &State| {
                state.chunks.iter().any(|slot| {
                    slot.chunk.status == ChunkStatus::Queued && slot.messages == 0 && slot.marked == 0
                })
            },
        ),
    ]
}

fn is_respected(state: &State, worker: &Worker) -> bool {
    match *worker {
        Worker::Working {
            chunk,
            attempt,
            outlived: false,
        } => {
            let held = state.chunks[chunk].chunk;
            // a cancel ends the chunk, and no worker gets it afterwards
            matches!(held.status, ChunkStatus::Running | ChunkStatus::Cancelled) && held.attempt == attempt
        }
        _ => true,
    }
}
