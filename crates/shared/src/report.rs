//! Errors as one line of text, for logs, the ledger and people.

use std::error::Error;

use crate::sqlstate::{FailureKind, classify};

/// An error with its causes. The texts are ours and the drivers', except where a server's message may quote a value:
/// of those only the SQLSTATE and the names are told.
#[must_use]
pub fn report(error: &(dyn Error + 'static)) -> String {
    let mut text = describe(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        // the driver's wrapper and the server's error within are one thing
        if error.downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
            break;
        }
        let next = describe(error);
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

fn describe(error: &(dyn Error + 'static)) -> String {
    let database = error
        .downcast_ref::<sqlx::Error>()
        .and_then(sqlx::Error::as_database_error);
    let Some(database) = database else {
        return error.to_string();
    };
    let code = database.code().unwrap_or_default();
    if classify(&code) != FailureKind::Data {
        return format!("{} (SQLSTATE {code})", database.message());
    }
    match (database.table(), database.constraint()) {
        (Some(table), Some(constraint)) => format!("SQLSTATE {code}, constraint {constraint} of {table}"),
        _ => format!("SQLSTATE {code}"),
    }
}
