//! Load: copies rows into staging, merges staging into the target and completes the chunk, in one transaction.

mod chunk_load;
mod copy;
mod error;
mod few_rows;
mod finish;
mod guard;
mod known;
mod merge;
pub mod row_digest;
mod savepoint;
mod staging;
mod statements;
mod tombstone;

pub use chunk_load::ChunkLoad;
pub use error::LoadError;
pub(crate) use error::target;
pub use staging::Staging;
