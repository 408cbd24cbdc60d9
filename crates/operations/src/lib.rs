//! What operators ask and do, whatever the front end.

pub mod redrive;
pub mod script_import;
pub mod status;
pub mod why;
