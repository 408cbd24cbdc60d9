//! The domain types that every role shares. Pure and synchronous: no database, no broker, no clock, no I/O.

pub mod audit;
pub mod chatwoot;
pub mod chunk;
pub mod contact_digest;
pub mod fence;
pub mod held_by;
pub mod ids;
pub mod inbox;
pub mod job;
pub mod mass_delete;
pub mod privacy;
pub mod progress;
pub mod retry;
pub mod run;
pub mod selection;
pub mod since;
pub mod tenant;
pub mod verification;
pub mod webhook;
