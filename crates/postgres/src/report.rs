//! Errors as one line of text, for logs, the ledger and people.

use std::error::Error;

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

use crate::fault::connect_fault;
use crate::sqlstate::{FailureKind, classify, failure_kind, sqlstate};

/// An error with its causes. A server's message may quote a value: then the text has only the SQLSTATE and the names.
#[must_use]
pub fn report(error: &(dyn Error + 'static)) -> String {
    let mut text = describe(error);
    let mut link = error;
    // the server's error, or a fault of ours, is below the driver's, which has already described it
    while !is_complete(link) {
        let Some(cause) = link.source() else { break };
        let next = describe(cause);
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        link = cause;
    }
    text
}

/// The SQLSTATE of the first cause that has one.
#[must_use]
pub fn sqlstate_of(error: &(dyn Error + 'static)) -> Option<String> {
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(code) = error.downcast_ref::<sqlx::Error>().and_then(sqlstate) {
            return Some(code);
        }
        link = error.source();
    }
    None
}

fn is_complete(error: &(dyn Error + 'static)) -> bool {
    error
        .downcast_ref::<sqlx::Error>()
        .is_some_and(|error| error.as_database_error().is_some() || connect_fault(error).is_some())
}

fn describe(error: &(dyn Error + 'static)) -> String {
    let driver = error.downcast_ref::<sqlx::Error>();
    if let Some(fault) = driver.and_then(connect_fault) {
        return fault.to_string();
    }
    let Some((driver, database)) = driver.and_then(|driver| Some((driver, driver.as_database_error()?)))
    else {
        return error.to_string();
    };
    let code = database.code().unwrap_or_default();
    let advice = match failure_kind(driver) {
        FailureKind::Exhausted => ": free disk or memory of that server",
        FailureKind::Limit => ": raise that limit for the login",
        FailureKind::Data => "",
        _ if code == "53300" => ": free connections of that server, or raise the limit",
        _ => "",
    };
    if classify(&code) != FailureKind::Data {
        return format!("{} (SQLSTATE {code}){advice}", database.message());
    }
    match (database.table(), database.constraint(), column(database)) {
        (Some(table), Some(constraint), _) => format!("SQLSTATE {code}, constraint {constraint} of {table}"),
        (Some(table), None, Some(column)) => format!("SQLSTATE {code}, column {column} of {table}"),
        _ => format!("SQLSTATE {code}"),
    }
}

/// The column that a value was refused for, as with NOT NULL.
fn column(error: &dyn DatabaseError) -> Option<&str> {
    error
        .try_downcast_ref::<PgDatabaseError>()
        .and_then(PgDatabaseError::column)
}
