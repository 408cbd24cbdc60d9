//! What all live pages show, read from the ledger once for everybody, and only while somebody looks.

pub mod history;
pub mod interest;
pub mod lag;
pub mod snapshot;
pub mod trends;
pub mod watcher;
