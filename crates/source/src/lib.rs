//! Sessions on the source databases. The source is a guest's house: read-only, bounded in number and time.

pub mod catalog;
pub mod checkup;
mod conversation;
pub mod digest;
mod error;
pub mod fence;
mod locks;
mod session;
mod source;
mod tables;
pub mod view;

pub use self::error::SourceError;
pub use self::session::{Replay, SourceTx};
pub use self::source::{Source, Sources};
