//! `etl_chunk`: the unit of work. Every transition names the state that it leaves.

pub(super) mod claim;
pub(super) mod dispatch;
pub(super) mod finish;
pub(super) mod insert;
pub(super) mod reads;
pub(super) mod rescue;
pub(super) mod trace;

pub use self::claim::{ClaimedChunk, claim, lock_claimed, renew};
pub use self::dispatch::{
    DispatchLimits, DispatchedChunk, bulk_share, dispatch, mark_published, requeue, unqueue,
};
pub use self::finish::{
    cancel_waiting, complete, count_deleted, fail, fail_run, list_newer_reads, postpone, release,
};
pub use self::insert::{NewChunks, insert_all};
pub use self::reads::{KnownRead, ReadQuery, list_reads};
pub use self::rescue::{RescuedChunk, rescue_lost, rescue_queued};
pub use self::trace::{begin_traces, list_notable_traces};
