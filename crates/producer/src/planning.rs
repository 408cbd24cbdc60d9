//! Planning: the source is scanned, compared with the target, and a plan is built from what differs.

pub mod assignment;
pub mod backfill;
pub mod error;
pub(crate) mod fence_sample;
mod guard;
mod member;
mod membership;
mod names;
pub mod plan;
pub mod planner;
mod selection;
pub mod signal_report;
mod signals;
mod source_scan;
mod tenant_plan;
mod unreadable;
pub mod verification;
