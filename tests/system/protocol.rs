//! The protocol of runs and chunks, three times the same: as a table of transitions (`transition`), as the statements of
//! `shared/db` on a real PostgreSQL, which `statements` holds against the table combination by combination, and as a state
//! machine over the table with everything that may go wrong around it (`model`), which `checks` explores to its end. `locks` has the order in which
//! its transactions lock rows.

mod checks;
mod locks;
mod model;
mod properties;
mod statements;
mod transition;
