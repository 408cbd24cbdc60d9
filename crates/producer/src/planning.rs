//! Planning: the source is scanned, compared with the target, and a plan is built from what differs.

pub mod assignment;
pub mod backfill;
mod guard;
mod membership;
mod names;
pub mod planner;
mod selection;
pub mod signal_report;
mod signals;
mod source_scan;
mod tenant_plan;
mod unreadable;
pub mod verification;
