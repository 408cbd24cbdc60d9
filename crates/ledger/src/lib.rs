//! The ledger and target database: connections, migrations, and one file a table with every control statement.
//!
//! # Lock order
//!
//! A transaction that locks more than one row takes them in this order, and each table's rows ascending:
//!
//! 1. `tenants`
//! 2. `etl_control`, by id
//! 3. `etl_chunk`, by run and number; an UPDATE of many locks them first by a SELECT … ORDER BY … FOR NO KEY UPDATE
//! 4. `etl_watermark`
//! 5. everything else
//!
//! Rows that foreign keys point to are locked FOR NO KEY UPDATE. Writing a row of another table takes KEY SHARE on the
//! row that it points to, and would wait for FOR UPDATE. Only the removal of a tenant and its move to another source
//! lock the tenant FOR UPDATE, so that they wait for open requests.
//!
//! These two, a change of policy and forgetting a contact can still deadlock with a load: they want rows that the load
//! has locked, while the load waits for its tenant. The server then aborts one of the two. Commands of operators that
//! lock more than one row run again: see `retry_on_deadlock`.

pub mod audit;
pub mod backfill;
pub mod backup;
pub mod bulk;
pub mod cancel;
pub mod change;
pub mod checkup;
pub mod chunk;
pub mod chunk_report;
pub mod connect;
pub mod console;
pub mod coverage;
pub mod daily;
pub mod encoding;
mod error;
pub mod fence;
pub mod fleet;
pub mod history;
pub mod impossible;
pub mod inbox;
pub mod isolation;
pub mod matched_totals;
pub mod migrate;
pub mod migrations;
pub mod notice;
pub mod privacy;
pub mod process;
pub mod progress;
pub mod prune;
pub mod reject;
pub mod retry;
pub mod rights;
pub mod run;
pub mod sender;
pub mod source_watch;
mod statement;
pub mod stored;
pub mod tables;
pub mod target;
pub mod tenant;
pub mod tenant_lifecycle;
pub mod tenant_login;
pub mod tenant_move;
pub mod tenant_page;
pub mod tenant_status;
pub mod unsynced;
pub mod verification;
pub mod watermark;
pub mod webhook;

pub use self::error::{Attempt, DbError, DbResult};
pub(crate) use self::error::{execute, retry_on_deadlock};
pub use self::migrations::MIGRATOR;
pub(crate) use self::statement::{chunk_keys, or_all, secs, statements};

/// Every control statement with its name: a test prepares them all against a migrated database.
pub fn all_statements() -> impl Iterator<Item = (&'static str, &'static str)> {
    [
        matched_totals::STATEMENTS,
        audit::STATEMENTS,
        backfill::STATEMENTS,
        backup::STATEMENTS,
        bulk::STATEMENTS,
        cancel::STATEMENTS,
        checkup::STATEMENTS,
        change::STATEMENTS,
        chunk::insert::STATEMENTS,
        chunk::dispatch::STATEMENTS,
        chunk::trace::STATEMENTS,
        chunk::claim::STATEMENTS,
        chunk::finish::STATEMENTS,
        chunk::reads::STATEMENTS,
        chunk::rescue::STATEMENTS,
        chunk_report::STATEMENTS,
        console::request::STATEMENTS,
        console::session::STATEMENTS,
        console::token::STATEMENTS,
        console::user::STATEMENTS,
        console::view::STATEMENTS,
        daily::STATEMENTS,
        encoding::STATEMENTS,
        fence::STATEMENTS,
        fleet::STATEMENTS,
        history::STATEMENTS,
        tenant_lifecycle::STATEMENTS,
        impossible::STATEMENTS,
        inbox::STATEMENTS,
        isolation::STATEMENTS,
        migrate::STATEMENTS,
        migrate::concurrent::STATEMENTS,
        migrate::waiting::STATEMENTS,
        migrations::STATEMENTS,
        notice::STATEMENTS,
        privacy::policy::STATEMENTS,
        privacy::strip::STATEMENTS,
        privacy::forget::STATEMENTS,
        privacy::withhold::STATEMENTS,
        process::STATEMENTS,
        progress::STATEMENTS,
        prune::STATEMENTS,
        reject::STATEMENTS,
        retry::STATEMENTS,
        rights::STATEMENTS,
        run::request::STATEMENTS,
        run::plan::STATEMENTS,
        run::close::STATEMENTS,
        run::list::STATEMENTS,
        sender::STATEMENTS,
        source_watch::STATEMENTS,
        tenant_status::STATEMENTS,
        target::transaction::STATEMENTS,
        target::columns::STATEMENTS,
        target::digests::STATEMENTS,
        target::names::STATEMENTS,
        target::rows::STATEMENTS,
        target::statistics::STATEMENTS,
        tenant::STATEMENTS,
        tenant_login::STATEMENTS,
        tenant_move::STATEMENTS,
        tenant_page::STATEMENTS,
        tenant_page::numbers::STATEMENTS,
        tenant_page::rows::STATEMENTS,
        unsynced::STATEMENTS,
        verification::STATEMENTS,
        watermark::STATEMENTS,
        webhook::STATEMENTS,
    ]
    .into_iter()
    .flatten()
    .copied()
}
