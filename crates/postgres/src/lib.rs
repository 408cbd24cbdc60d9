//! Connections to PostgreSQL. This crate knows no table.
//!
//! `hosts` (the servers of a URL), `connector` (finds the one to use, with the current password), `error` and `fault` (why
//! no connection was made, and what to do), `connect` (settings of sessions), `pool` (a pool, also behind a pooler),
//! `guarded` (a transaction whose statement is cancelled when it is dropped), `ident` (quoting), `source_time` and `day`
//! (timestamps and dates that may be infinite), `sqlstate` (kinds of failures), `report` (errors as text without values).

pub mod connect;
pub mod connector;
pub mod day;
mod error;
pub mod fault;
mod first_session;
pub mod guarded;
mod hosts;
pub mod ident;
pub mod pool;
pub mod report;
mod returns;
pub mod source_time;
pub mod sqlstate;

pub use self::connector::Connector;
pub use self::first_session::FirstSession;
pub use self::pool::DbPool;

/// Sets `search_path` to the current schemas, with the schema of temporary tables last. A temporary table then never
/// hides another table of the same name. For the transaction (`true`) or for the session.
#[macro_export]
macro_rules! temporary_last {
    ($for_transaction:literal) => {
        concat!(
            "set_config('search_path', array_to_string(ARRAY( \
                 SELECT quote_ident(s) FROM unnest(current_schemas(false)) WITH ORDINALITY AS c (s, n) \
                 WHERE s !~ '^pg_temp_' ORDER BY n) || 'pg_temp'::text, ', '), ",
            $for_transaction,
            ")"
        )
    };
}
