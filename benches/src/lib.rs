//! Shared by the benchmarks: rows to work on, and measured values with their tables.

pub mod check;
pub mod figures;
pub mod machine;
pub mod plot;
pub mod report;
pub mod rows;
