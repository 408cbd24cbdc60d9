//! `etl_control`: one row for each run.

pub(super) mod close;
pub(super) mod list;
pub(super) mod plan;
pub(super) mod request;

pub use self::close::{CompleteRun, close, lock_complete, lock_named};
pub use self::list::{RunFilter, list_ids, reports};
pub use self::plan::{
    ClaimedRun, NewRunningRun, PlanRecord, claim_requested, fail_planning, insert_failed, insert_running,
    record_planning_error, renew_planning, start_planned,
};
pub(crate) use self::request::record_request;
pub use self::request::{NewRun, Requested, find_open, insert_requested, request, request_for, request_in};
