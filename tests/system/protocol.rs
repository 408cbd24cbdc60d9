//! The protocol of runs and chunks, written three times. `transition` is a table of transitions. `statements`
//! compares the statements of the ledger with it on a real PostgreSQL, combination by combination. `model` is a state
//! machine over the table with every fault, and `checks` explores it completely. `locks` has the order in which
//! transactions lock rows.

mod checks;
mod locks;
mod model;
mod properties;
mod rows;
mod statements;
mod transition;
