//! The source databases. Every session is read-only, and sessions are limited in number and duration.

pub mod accounts;
pub mod catalog;
pub mod checkup;
mod conversation;
pub mod digest;
mod error;
pub mod fence;
mod kind;
mod locks;
mod session;
mod shape;
mod source;
pub mod tables;
pub mod view;

pub use self::error::SourceError;
pub use self::locks::Reads;
pub use self::session::{Replay, SourceTx};
pub use self::shape::Shape;
pub use self::source::{Source, Sources};
