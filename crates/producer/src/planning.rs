//! Planning: the source is scanned, compared with the target, and a plan is built from what differs.

pub mod assignment;
pub mod backfill;
mod digests;
pub mod error;
pub(crate) mod fence_sample;
mod mass_delete;
mod member;
mod names;
pub mod plan;
pub mod planner;
mod selection;
pub mod signal_report;
mod signals;
mod source_scan;
mod target_comparison;
mod tenant_plan;
mod unreadable;
pub mod verification;
