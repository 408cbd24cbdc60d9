//! What benchmarks share: rows to work on, and figures with their tables.

pub mod check;
pub mod figures;
pub mod machine;
pub mod plot;
pub mod report;
pub mod rows;
