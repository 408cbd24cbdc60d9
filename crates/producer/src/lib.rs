//! Decides work: plans runs, dispatches chunks, closes runs, advances watermarks. Never touches a row of data.

pub mod backfill;
pub mod dispatch;
mod draft;
pub mod finalize;
pub mod fleet;
mod group;
mod guard;
pub mod hear;
mod membership;
pub mod metrics;
mod names;
pub mod plan;
pub mod prune;
pub mod redrive;
pub mod request;
pub mod rescue;
pub mod sample;
pub mod schedule;
mod selection;
pub mod share;
mod signals;
mod unreadable;
pub mod verify;
pub mod wake;
pub mod why;
