//! Planning: scan the source, compare it with the target, build a plan from the differences.
//!
//! The files import each other in that direction only: `source_scan`, `target_comparison`, `tenant_plan`, `planner`, `groups`.

pub mod assignment;
pub mod backfill;
mod covered;
mod digests;
mod discovery;
pub mod error;
pub(crate) mod fence_sample;
pub mod groups;
mod last_change;
mod look_back;
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
