//! The fleet as a state machine. One step is one statement of the ledger, one act of the broker or one fault.
//!
//! There is no clock: a step that waits for time may happen at any time. A step that needs a fault uses up one of the
//! allowed faults. Any mixture of faults may come in any order until they are used up.

use stateright::Model;
use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::run::{RunStatus, RunType};

use super::transition::{Beside, Chunk, Guard, Protocol, Statement, TenantState, is_terminal};

/// The key space, the fleet, and the allowed faults.
#[derive(Debug, Clone)]
pub struct Fleet {
    pub protocol: Protocol,
    /// Changed conversations, one for each chunk of the first run.
    pub keys: usize,
    /// True for a second run of the tenant, with one chunk for all conversations.
    pub second: Option<RunType>,
    pub workers: usize,
    /// Finalizers that may have a transaction open at the same time.
    pub finalizers: usize,
    pub faults: u8,
    pub max_failures: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub chunks: Vec<Slot>,
    pub runs: Vec<Run>,
    /// Sorted: workers are interchangeable.
    pub workers: Vec<Worker>,
    /// Runs that a finalizer has found complete and not yet closed, sorted.
    pub closing: Vec<usize>,
    /// 0 before the first run. A run moves it to its own number plus one.
    pub watermark: u8,
    /// The keys whose current rows are in the target.
    pub target: Vec<bool>,
    pub paused: bool,
    pub faults_left: u8,
    pub broken: Option<Broken>,
}

/// A chunk in the ledger, and its copies elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    pub chunk: Chunk,
    /// Dispatchers that have marked it queued and not yet published it.
    pub marked: u8,
    /// Its messages in the queue.
    pub messages: u8,
    /// How often its rows were committed.
    pub effects: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Run {
    pub status: RunStatus,
    /// The watermark that its plan read.
    pub watermark_start: u8,
    pub ended: u8,
    /// Received events, where they are counted.
    pub events: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Worker {
    Idle,
    /// `outlived`: it was frozen or cut off for longer than its lease.
    Working {
        chunk: usize,
        attempt: u8,
        outlived: bool,
    },
    /// The outcome is committed.
    Ended {
        chunk: usize,
    },
    /// The event is published, the message not yet acknowledged.
    Announced {
        chunk: usize,
    },
}

impl Worker {
    /// The running chunk and its attempt, if there is one.
    fn work(self) -> (usize, u8) {
        match self {
            Self::Working { chunk, attempt, .. } => (chunk, attempt),
            Self::Ended { chunk } | Self::Announced { chunk } => (chunk, 0),
            Self::Idle => unreachable!("an idle worker is not asked"),
        }
    }
}

/// Violations that a later state does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Broken {
    /// An attempt committed that was not the newest.
    StaleCommit,
    /// A chunk left a final state.
    Revived,
    /// A run that had ended got new work.
    BegunLate,
    WatermarkBack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Step(Step),
    Fault(Fault),
}

/// Steps of the fleet without a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reads the watermark. The plan may be written much later.
    Plan {
        run: usize,
    },
    WritePlan {
        run: usize,
    },
    /// Dispatch or rescue.
    Move {
        statement: Statement,
        chunk: usize,
    },
    /// A delay, a publication's wait or a dead worker's lease ends.
    TimePasses {
        chunk: usize,
    },
    Publish {
        chunk: usize,
    },
    Deliver {
        worker: usize,
        chunk: usize,
    },
    Renew {
        worker: usize,
    },
    Commit {
        worker: usize,
    },
    Announce {
        worker: usize,
    },
    Acknowledge {
        worker: usize,
    },
    /// A finalizer locks a complete run.
    FindComplete {
        run: usize,
    },
    /// The finalizer commits the run's end.
    Close {
        closing: usize,
    },
    Resume,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The worker dies, and the broker delivers its message again.
    WorkerDies {
        worker: usize,
    },
    /// The worker is frozen or cut off for longer than its lease, and then goes on.
    WorkerFreezes {
        worker: usize,
    },
    /// `fail` or `release`, as `worker/disposition.rs` decides.
    AttemptEnds {
        worker: usize,
        statement: Statement,
    },
    /// A configuration error: the chunk is dead, and the run's waiting chunks are cancelled.
    RunCannotPass {
        worker: usize,
    },
    /// The broker redelivers, or a publisher repeats.
    Duplicate {
        chunk: usize,
    },
    /// The queue is purged, or the broker loses everything.
    Purge {
        chunk: usize,
    },
    /// The dispatcher dies. `taken`: the broker has the message, and the ledger does not know it.
    DispatcherDies {
        chunk: usize,
        taken: bool,
    },
    /// The broker refuses the message, or its confirm is lost. `taken`: the broker has the message.
    NotConfirmed {
        chunk: usize,
        taken: bool,
    },
    /// A message waits for longer than the ledger waits for it.
    Impatience {
        chunk: usize,
    },
    FinalizerDies {
        closing: usize,
    },
    Pause,
    Cancel {
        run: usize,
    },
}

impl Fleet {
    /// The run that the chunk belongs to.
    pub fn run_of(&self, chunk: usize) -> usize {
        usize::from(chunk >= self.keys)
    }

    fn chunks_of(&self, run: usize) -> std::ops::Range<usize> {
        if run == 0 {
            0..self.keys
        } else {
            self.keys..self.keys + 1
        }
    }

    pub fn moves_watermark(&self, run: usize) -> bool {
        run == 0 || self.second.is_some_and(RunType::moves_watermark)
    }

    pub fn statuses<'a>(
        &self,
        state: &'a State,
        run: usize,
    ) -> impl ExactSizeIterator<Item = ChunkStatus> + use<'a> {
        state.chunks[self.chunks_of(run)]
            .iter()
            .map(|slot| slot.chunk.status)
    }

    /// Applies a statement of the ledger. Returns `false` if it matches no row.
    fn apply(&self, state: &mut State, statement: Statement, chunk: usize, attempt: u8) -> bool {
        let run = state.runs[self.run_of(chunk)].status;
        let tenant = if state.paused {
            TenantState::Paused
        } else {
            TenantState::Active
        };
        let before = state.chunks[chunk].chunk;
        let beside = Beside { run, tenant, attempt };
        let Some(after) = self.protocol.after(statement, before, beside) else {
            return false;
        };
        if is_terminal(before.status) && after != before {
            state.broken = Some(Broken::Revived);
        }
        if statement == Statement::Claim && run != RunStatus::Running {
            state.broken = Some(Broken::BegunLate);
        }
        if statement == Statement::Complete && attempt != before.attempt {
            state.broken = Some(Broken::StaleCommit);
        }
        state.chunks[chunk].chunk = after;
        true
    }

    /// The transaction of a load: rows and "done" together, or nothing.
    fn commit(&self, state: &mut State, chunk: usize, attempt: u8) {
        if !self.apply(state, Statement::Complete, chunk, attempt) {
            return;
        }
        state.chunks[chunk].effects += 1;
        if chunk < self.keys {
            state.target[chunk] = true;
        } else {
            state.target.fill(true);
        }
    }

    fn close(&self, state: &mut State, run: usize) {
        let Some(status) = self
            .protocol
            .closed(state.runs[run].status, self.statuses(state, run))
        else {
            return;
        };
        state.runs[run].status = status;
        state.runs[run].ended += 1;
        if status != RunStatus::Success || !self.moves_watermark(run) {
            return;
        }
        let start = state.runs[run].watermark_start;
        let end = if run == 0 { 1 } else { 2 };
        if let Some(moved) = self.protocol.advanced(Some(state.watermark), Some(start), end) {
            if moved < state.watermark {
                state.broken = Some(Broken::WatermarkBack);
            }
            state.watermark = moved;
        }
    }

    /// True when a living worker renews the chunk's lease.
    fn is_held(state: &State, chunk: usize) -> bool {
        state.workers.iter().any(|worker| {
            matches!(worker, Worker::Working { chunk: held, attempt, .. }
                if *held == chunk && *attempt == state.chunks[chunk].chunk.attempt)
        })
    }

    /// The possible next steps of the fleet.
    fn steps(&self, state: &State) -> Vec<Step> {
        let mut steps = Vec::new();
        for (worker, doing) in state.workers.iter().enumerate() {
            match doing {
                Worker::Idle => {}
                Worker::Working { .. } => steps.extend([Step::Renew { worker }, Step::Commit { worker }]),
                Worker::Ended { .. } => steps.push(Step::Announce { worker }),
                Worker::Announced { .. } => steps.push(Step::Acknowledge { worker }),
            }
        }
        let idle = state.workers.iter().position(|worker| *worker == Worker::Idle);
        for (chunk, slot) in state.chunks.iter().enumerate() {
            if slot.marked > 0 {
                steps.push(Step::Publish { chunk });
            }
            if let Some(worker) = idle
                && slot.messages > 0
            {
                steps.push(Step::Deliver { worker, chunk });
            }
            if !slot.chunk.elapsed && Self::is_unattended(state, chunk) {
                steps.push(Step::TimePasses { chunk });
            }
            let statement = match slot.chunk.status {
                ChunkStatus::Pending => Statement::Dispatch,
                ChunkStatus::Queued => Statement::RescueQueued,
                ChunkStatus::Running => Statement::RescueLost,
                ChunkStatus::Done | ChunkStatus::Dead | ChunkStatus::Cancelled => continue,
            };
            steps.push(Step::Move { statement, chunk });
        }
        for (run, planned) in state.runs.iter().enumerate() {
            match planned.status {
                RunStatus::Requested => steps.push(Step::Plan { run }),
                RunStatus::Planning if self.may_open(state, run) => steps.push(Step::WritePlan { run }),
                _ if self.is_complete(state, run) => steps.push(Step::FindComplete { run }),
                _ => {}
            }
        }
        steps.extend((0..state.closing.len()).map(|closing| Step::Close { closing }));
        if state.paused {
            steps.push(Step::Resume);
        }
        steps
    }

    fn step(&self, state: &mut State, step: Step) {
        match step {
            Step::Plan { run } => {
                state.runs[run].status = RunStatus::Planning;
                state.runs[run].watermark_start = state.watermark;
            }
            Step::WritePlan { run } => state.runs[run].status = RunStatus::Running,
            Step::Move { statement, chunk } => {
                let hit = self.apply(state, statement, chunk, 0);
                state.chunks[chunk].marked += u8::from(hit && statement == Statement::Dispatch);
            }
            Step::TimePasses { chunk } => state.chunks[chunk].chunk.elapsed = true,
            Step::Publish { chunk } => {
                Self::publish(state, chunk, true);
                self.apply(state, Statement::MarkPublished, chunk, 0);
            }
            Step::Deliver { worker, chunk } => self.deliver(state, worker, chunk),
            Step::Renew { worker } => {
                let (chunk, attempt) = state.workers[worker].work();
                self.apply(state, Statement::Renew, chunk, attempt);
            }
            Step::Commit { worker } => {
                let (chunk, attempt) = state.workers[worker].work();
                self.commit(state, chunk, attempt);
                state.workers[worker] = Worker::Ended { chunk };
            }
            Step::Announce { worker } => {
                let (chunk, _) = state.workers[worker].work();
                if !self.protocol.has(Guard::CloseByQuery) {
                    state.runs[self.run_of(chunk)].events += 1;
                }
                state.workers[worker] = Worker::Announced { chunk };
            }
            Step::Acknowledge { worker } => state.workers[worker] = Worker::Idle,
            Step::FindComplete { run } => state.closing.push(run),
            Step::Close { closing } => {
                let run = state.closing.remove(closing);
                self.close(state, run);
            }
            Step::Resume => state.paused = false,
        }
    }

    /// `lock_complete` skips a run that another finalizer has locked.
    fn is_complete(&self, state: &State, run: usize) -> bool {
        let Run { status, events, .. } = state.runs[run];
        state.closing.len() < self.finalizers
            && self.is_unlocked(state, run)
            && self
                .protocol
                .is_complete(status, self.statuses(state, run), events)
    }

    fn is_unlocked(&self, state: &State, run: usize) -> bool {
        !state.closing.contains(&run) || !self.protocol.has(Guard::CloseOnce)
    }

    /// A unique index: a tenant has one open run that moves its watermark.
    fn may_open(&self, state: &State, run: usize) -> bool {
        let other_is_open = state.runs.iter().enumerate().any(|(other, open)| {
            other != run && self.moves_watermark(other) && open.status == RunStatus::Running
        });
        !(self.moves_watermark(run) && other_is_open)
    }

    /// True when no process will end the chunk's wait.
    fn is_unattended(state: &State, chunk: usize) -> bool {
        let slot = state.chunks[chunk];
        match slot.chunk.status {
            ChunkStatus::Pending => true,
            ChunkStatus::Queued => slot.messages == 0 && slot.marked == 0,
            ChunkStatus::Running => !Self::is_held(state, chunk),
            ChunkStatus::Done | ChunkStatus::Dead | ChunkStatus::Cancelled => false,
        }
    }

    /// Publishes a chunk that a dispatcher has marked. `taken`: the broker has the message.
    fn publish(state: &mut State, chunk: usize, taken: bool) {
        state.chunks[chunk].marked -= 1;
        state.chunks[chunk].messages += u8::from(taken);
    }

    /// A worker takes a message and claims its chunk. If it cannot, it acknowledges the message and forgets it.
    fn deliver(&self, state: &mut State, worker: usize, chunk: usize) {
        state.chunks[chunk].messages -= 1;
        if self.apply(state, Statement::Claim, chunk, 0) {
            state.workers[worker] = Worker::Working {
                chunk,
                attempt: state.chunks[chunk].chunk.attempt,
                outlived: false,
            };
        }
    }

    fn faults(&self, state: &State) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (worker, doing) in state.workers.iter().enumerate() {
            if *doing != Worker::Idle {
                faults.push(Fault::WorkerDies { worker });
            }
            if let Worker::Working { chunk, .. } = *doing {
                let last = state.chunks[chunk].chunk.failures + 1 >= self.max_failures;
                let failed = if last { Statement::Bury } else { Statement::Retry };
                faults.extend([
                    Fault::WorkerFreezes { worker },
                    Fault::RunCannotPass { worker },
                    Fault::AttemptEnds {
                        worker,
                        statement: failed,
                    },
                    Fault::AttemptEnds {
                        worker,
                        statement: Statement::Release,
                    },
                ]);
            }
        }
        for (chunk, slot) in state.chunks.iter().enumerate() {
            if slot.messages > 0 {
                faults.push(Fault::Purge { chunk });
            }
            if slot.messages > 0 || Self::is_held(state, chunk) {
                faults.push(Fault::Duplicate { chunk });
            }
            if slot.marked > 0 {
                faults.extend([
                    Fault::DispatcherDies { chunk, taken: false },
                    Fault::DispatcherDies { chunk, taken: true },
                    Fault::NotConfirmed { chunk, taken: false },
                    Fault::NotConfirmed { chunk, taken: true },
                ]);
            }
            if slot.chunk.status == ChunkStatus::Queued && !slot.chunk.elapsed {
                faults.push(Fault::Impatience { chunk });
            }
        }
        faults.extend((0..state.closing.len()).map(|closing| Fault::FinalizerDies { closing }));
        // a cancel waits while a finalizer has locked the row
        faults.extend(
            (0..state.runs.len())
                .filter(|run| state.runs[*run].status == RunStatus::Running && self.is_unlocked(state, *run))
                .map(|run| Fault::Cancel { run }),
        );
        if !state.paused {
            faults.push(Fault::Pause);
        }
        faults
    }

    fn fault(&self, state: &mut State, fault: Fault) {
        match fault {
            Fault::WorkerDies { worker } => {
                let (chunk, _) = state.workers[worker].work();
                state.chunks[chunk].messages += 1;
                state.workers[worker] = Worker::Idle;
            }
            Fault::WorkerFreezes { worker } => {
                let (chunk, attempt) = state.workers[worker].work();
                state.workers[worker] = Worker::Working {
                    chunk,
                    attempt,
                    outlived: true,
                };
                let held = &mut state.chunks[chunk].chunk;
                held.elapsed |= held.status == ChunkStatus::Running && held.attempt == attempt;
            }
            Fault::AttemptEnds { worker, statement } => {
                let (chunk, attempt) = state.workers[worker].work();
                self.apply(state, statement, chunk, attempt);
                state.workers[worker] = Worker::Ended { chunk };
            }
            Fault::RunCannotPass { worker } => {
                let (chunk, attempt) = state.workers[worker].work();
                if self.apply(state, Statement::Bury, chunk, attempt) {
                    for waiting in self.chunks_of(self.run_of(chunk)) {
                        self.apply(state, Statement::CancelWaiting, waiting, 0);
                    }
                }
                state.workers[worker] = Worker::Ended { chunk };
            }
            Fault::Duplicate { chunk } => state.chunks[chunk].messages += 1,
            Fault::Purge { chunk } => state.chunks[chunk].messages = 0,
            Fault::DispatcherDies { chunk, taken } => Self::publish(state, chunk, taken),
            Fault::NotConfirmed { chunk, taken } => {
                Self::publish(state, chunk, taken);
                self.apply(state, Statement::Unqueue, chunk, 0);
            }
            Fault::Impatience { chunk } => state.chunks[chunk].chunk.elapsed = true,
            Fault::FinalizerDies { closing } => {
                state.closing.remove(closing);
            }
            Fault::Pause => state.paused = true,
            Fault::Cancel { run } => {
                for chunk in self.chunks_of(run) {
                    self.apply(state, Statement::CancelRun, chunk, 0);
                }
                state.runs[run].status = RunStatus::Cancelled;
                state.runs[run].ended += 1;
            }
        }
    }
}

impl Model for Fleet {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let runs = 1 + usize::from(self.second.is_some());
        let slot = Slot {
            chunk: Chunk::PLANNED,
            marked: 0,
            messages: 0,
            effects: 0,
        };
        let run = Run {
            status: RunStatus::Requested,
            watermark_start: 0,
            ended: 0,
            events: 0,
        };
        vec![State {
            chunks: vec![slot; self.keys + runs - 1],
            runs: vec![run; runs],
            workers: vec![Worker::Idle; self.workers],
            closing: Vec::new(),
            watermark: 0,
            target: vec![false; self.keys],
            paused: false,
            faults_left: self.faults,
            broken: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(self.steps(state).into_iter().map(Action::Step));
        if state.faults_left > 0 {
            actions.extend(self.faults(state).into_iter().map(Action::Fault));
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Step(step) => self.step(&mut state, step),
            Action::Fault(fault) => self.fault(&mut state, fault),
        }
        // workers are interchangeable, and so are finalizers: states that differ only in their order are equal
        state.workers.sort_unstable();
        state.closing.sort_unstable();
        // a fault that changes nothing is not explored
        if state == *before {
            return None;
        }
        state.faults_left -= u8::from(matches!(action, Action::Fault(_)));
        Some(state)
    }

    fn properties(&self) -> Vec<stateright::Property<Self>> {
        super::properties::properties(self)
    }
}
