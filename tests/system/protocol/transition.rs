//! Which rows a statement of the ledger matches, and how it changes them: the guards of chunk.rs, run.rs and
//! watermark.rs as functions. The model executes them, and `statements` compares them with the SQL.

use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::run::RunStatus;

/// The parts of a row of `etl_chunk` that transitions read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chunk {
    pub status: ChunkStatus,
    pub attempt: u8,
    pub failures: u8,
    pub lost: u8,
    /// The time has passed for which the row waits: a pending row's `next_attempt_at`, the time allowed for a queued
    /// row, a running row's lease.
    pub elapsed: bool,
}

impl Chunk {
    pub const PLANNED: Self = Self {
        status: ChunkStatus::Pending,
        attempt: 0,
        failures: 0,
        lost: 0,
        elapsed: true,
    };
}

/// A statement that changes a chunk's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Statement {
    Dispatch,
    MarkPublished,
    Unqueue,
    Requeue,
    Claim,
    Renew,
    Complete,
    Release,
    Postpone,
    /// `fail` with a delay.
    Retry,
    /// `fail` without one.
    Bury,
    CancelWaiting,
    /// A run is cancelled, with all of its open chunks.
    CancelRun,
    RescueLost,
    RescueQueued,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TenantState {
    Active,
    Paused,
    Deleted,
}

/// What a statement reads besides the chunk's own row.
#[derive(Debug, Clone, Copy)]
pub struct Beside {
    pub run: RunStatus,
    pub tenant: TenantState,
    /// The caller's attempt; a claim has none.
    pub attempt: u8,
}

/// A guard that a test can leave out, to see that the checker notices its absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guard {
    /// `attempt = mine`, in every statement of a worker that has the chunk.
    Attempt,
    /// `status = 'running'` in `complete`.
    CompleteRunning,
    /// A claim takes no chunk that another worker is running.
    ClaimWaiting,
    /// Rescue takes no chunk whose lease is still valid.
    Lease,
    /// Rescue returns chunks whose lease has ended.
    RescueLost,
    /// Rescue returns chunks that were queued and never claimed.
    RescueQueued,
    /// Lost leases are counted, and at the limit the chunk is dead.
    LostLimit,
    /// A run is closed when its chunks have ended, not when their events were counted.
    CloseByQuery,
    /// Closing locks the run, and names the state that it leaves.
    CloseOnce,
    /// The watermark only moves from the value that the plan read.
    CompareAndSet,
}

/// The transitions: all of them, or all but one guard.
#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    pub max_lost: u8,
    pub without: Option<Guard>,
}

impl Protocol {
    pub fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// The chunk after the statement; `None` if the statement does not match the row.
    pub fn after(&self, statement: Statement, chunk: Chunk, beside: Beside) -> Option<Chunk> {
        use ChunkStatus::{Cancelled, Dead, Done, Pending, Queued, Running};

        let mine = beside.attempt == chunk.attempt || !self.has(Guard::Attempt);
        let run_goes_on = beside.run == RunStatus::Running;
        // (status, the time has passed for which it waits)
        let to = |status, elapsed| {
            Some(Chunk {
                status,
                elapsed,
                ..chunk
            })
        };
        match (statement, chunk.status) {
            (Statement::Dispatch, Pending)
                if chunk.elapsed && run_goes_on && beside.tenant == TenantState::Active =>
            {
                to(Queued, false)
            }
            (Statement::MarkPublished, Queued) => to(Queued, false),
            (Statement::Unqueue, Queued) => to(Pending, false),
            (Statement::Requeue, Queued) => to(Pending, true),
            (Statement::Claim, status)
                if (status == Queued
                    || (status == Pending && chunk.elapsed)
                    || (status == Running && !self.has(Guard::ClaimWaiting)))
                    && run_goes_on
                    && beside.tenant == TenantState::Active =>
            {
                Some(Chunk {
                    status: Running,
                    attempt: chunk.attempt + 1,
                    elapsed: false,
                    ..chunk
                })
            }
            (Statement::Renew, Running) if mine => to(Running, false),
            (Statement::Complete, status)
                if mine && (status == Running || !self.has(Guard::CompleteRunning)) =>
            {
                to(Done, false)
            }
            (Statement::Release, Running) if mine => to(Pending, true),
            (Statement::Postpone, Running) if mine => to(Pending, false),
            (Statement::Retry | Statement::Bury, Running) if mine => Some(Chunk {
                status: if statement == Statement::Bury {
                    Dead
                } else {
                    Pending
                },
                failures: chunk.failures + 1,
                elapsed: false,
                ..chunk
            }),
            (Statement::CancelWaiting, Pending | Queued) => to(Cancelled, false),
            (Statement::CancelRun, Pending | Queued | Running) if !beside.run.is_terminal() => {
                to(Cancelled, false)
            }
            (Statement::RescueLost, Running)
                if (chunk.elapsed || !self.has(Guard::Lease)) && self.has(Guard::RescueLost) =>
            {
                let lost = chunk.lost + 1;
                let dead = lost >= self.max_lost && self.has(Guard::LostLimit);
                Some(Chunk {
                    status: if dead { Dead } else { Pending },
                    lost,
                    elapsed: !dead,
                    ..chunk
                })
            }
            (Statement::RescueQueued, Queued) if chunk.elapsed && self.has(Guard::RescueQueued) => {
                to(Pending, true)
            }
            _ => None,
        }
    }

    /// `run::lock_complete`: true when the run can be closed. `events` is the number of its announced chunks.
    pub fn is_complete(
        &self,
        run: RunStatus,
        mut chunks: impl ExactSizeIterator<Item = ChunkStatus>,
        events: u8,
    ) -> bool {
        run == RunStatus::Running
            && if self.has(Guard::CloseByQuery) {
                chunks.all(is_terminal)
            } else {
                usize::from(events) >= chunks.len()
            }
    }

    /// `run::close`: how the run ends; `None` if it is not running.
    pub fn closed(&self, run: RunStatus, mut chunks: impl Iterator<Item = ChunkStatus>) -> Option<RunStatus> {
        let given_up = chunks.any(|status| matches!(status, ChunkStatus::Dead | ChunkStatus::Cancelled));
        (run == RunStatus::Running || !self.has(Guard::CloseOnce)).then_some(if given_up {
            RunStatus::Failed
        } else {
            RunStatus::Success
        })
    }

    /// `watermark::advance` from `old` to `new`; `None` if it does not move.
    pub fn advanced(&self, current: Option<u8>, old: Option<u8>, new: u8) -> Option<u8> {
        let moves = current == old && old.is_none_or(|old| new > old);
        (moves || !self.has(Guard::CompareAndSet)).then_some(new)
    }
}

pub fn is_terminal(status: ChunkStatus) -> bool {
    matches!(
        status,
        ChunkStatus::Done | ChunkStatus::Dead | ChunkStatus::Cancelled
    )
}
