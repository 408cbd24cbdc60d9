//! What operators ask and do, whatever the front end.

pub mod legacy;
pub mod overview;
pub mod redrive;
pub mod why;
