//! Plans runs and dispatches chunks. Reads keys and digests, and no row of data.

pub mod loops;
pub mod metrics;
pub mod planning;
