//! The kind of a failure of PostgreSQL, by its SQLSTATE and never by its text.

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

/// Kinds of failures, by what helps against them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The server is away or accepts no connections: wait.
    Unavailable,
    /// The server has no disk space, memory or other resource left: less work at once may succeed, otherwise wait.
    Exhausted,
    /// A statement needs more than a limit that somebody set allows, such as `temp_file_limit`: only less work at once
    /// may succeed.
    Limit,
    /// A failure of the server or the network: the same statement may succeed.
    Transient,
    /// A statement ran out of its time: less work at once may succeed.
    Timeout,
    /// A value: without its row the statement succeeds.
    Data,
    /// Rights, names, settings: nothing succeeds until somebody fixes it.
    Configuration,
}

impl FailureKind {
    /// Whether the same work succeeds as soon as the server is well again: wait, and count no failure.
    #[must_use]
    pub const fn passes_by_itself(self) -> bool {
        matches!(self, Self::Unavailable | Self::Exhausted)
    }

    /// Whether less work at once may succeed.
    #[must_use]
    pub const fn may_fit_in_parts(self) -> bool {
        matches!(self, Self::Exhausted | Self::Limit | Self::Timeout)
    }
}

/// Classifies a five-character SQLSTATE.
#[must_use]
pub fn classify(code: &str) -> FailureKind {
    match code {
        // query_canceled: statement_timeout, unless it was our own cancel
        "57014" => FailureKind::Timeout,
        // connection exceptions except protocol violations; shutdown, startup, no free connection; a primary that
        // became a standby; lock_not_available: another session is rewriting the table
        "08000" | "08001" | "08003" | "08004" | "08006" | "57P01" | "57P03" | "53300" | "25006" | "55P03" => {
            FailureKind::Unavailable
        }
        // insufficient_resources (such as open files), disk_full, out_of_memory
        "53000" | "53100" | "53200" => FailureKind::Exhausted,
        // configuration_limit_exceeded
        "53400" => FailureKind::Limit,
        // statement_too_complex, too_many_columns, too_many_arguments; program_limit_exceeded is about a value
        "54001" | "54011" | "54023" => FailureKind::Configuration,
        // data_corrupted: a row that can no longer be decompressed, or the rows of a page
        "XX001" => FailureKind::Data,
        _ => match code.get(..2) {
            Some("21" | "22" | "23" | "54") => FailureKind::Data,
            // authorization, catalog and schema names, syntax and access rule, RLS (42501 is in 42)
            Some("0A" | "28" | "3D" | "3F" | "42" | "44") => FailureKind::Configuration,
            _ => FailureKind::Transient,
        },
    }
}

/// Classifies an error of the driver. A connection that breaks during work is [`FailureKind::Transient`]: the work
/// itself may be the cause.
#[must_use]
pub fn failure_kind(error: &sqlx::Error) -> FailureKind {
    match error {
        sqlx::Error::Database(error) if is_unable_to_write(&**error) => FailureKind::Exhausted,
        sqlx::Error::Database(error) => error
            .code()
            .map_or(FailureKind::Transient, |code| classify(&code)),
        sqlx::Error::PoolTimedOut => FailureKind::Unavailable,
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            FailureKind::Unavailable
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => FailureKind::Data,
        sqlx::Error::Configuration(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::TypeNotFound { .. } => FailureKind::Configuration,
        _ => FailureKind::Transient,
    }
}

/// Whether the server could not extend a file. A quota or a limit on the size of files is not `disk_full` to it, but an
/// internal error. The routine that failed tells it apart, in every language of the server.
fn is_unable_to_write(error: &dyn DatabaseError) -> bool {
    const INTERNAL_ERROR: &str = "XX000";
    const ROUTINES: [&str; 3] = ["mdextend", "mdzeroextend", "BufFileDumpBuffer"];
    error.code().as_deref() == Some(INTERNAL_ERROR)
        && error
            .try_downcast_ref::<PgDatabaseError>()
            .and_then(PgDatabaseError::routine)
            .is_some_and(|routine| ROUTINES.contains(&routine))
}

/// Classifies an error of connecting and of control statements, which no row can cause. A broken connection or an
/// invalid answer is then the server's fault. PgBouncer reports a server that it cannot reach as a protocol violation.
#[must_use]
pub fn control_failure_kind(error: &sqlx::Error) -> FailureKind {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => FailureKind::Unavailable,
        error if sqlstate(error).as_deref() == Some("08P01") => FailureKind::Unavailable,
        error => failure_kind(error),
    }
}

/// The SQLSTATE of an error from a server.
#[must_use]
pub fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error
        .as_database_error()
        .and_then(|error| error.code())
        .map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_decide_and_single_codes_override_them() {
        for (code, kind) in [
            ("22P02", FailureKind::Data),
            ("23514", FailureKind::Data),
            ("21000", FailureKind::Data),
            ("54000", FailureKind::Data),
            ("XX001", FailureKind::Data),
            ("42501", FailureKind::Configuration),
            ("42P01", FailureKind::Configuration),
            ("57014", FailureKind::Timeout),
            ("40001", FailureKind::Transient),
            ("57P01", FailureKind::Unavailable),
            ("57P03", FailureKind::Unavailable),
            ("53300", FailureKind::Unavailable),
            ("53000", FailureKind::Exhausted),
            ("53100", FailureKind::Exhausted),
            ("53200", FailureKind::Exhausted),
            ("53400", FailureKind::Limit),
            ("58030", FailureKind::Transient),
            ("08006", FailureKind::Unavailable),
            ("25006", FailureKind::Unavailable),
            ("57P02", FailureKind::Transient),
            ("08P01", FailureKind::Transient),
            ("", FailureKind::Transient),
        ] {
            assert_eq!(classify(code), kind, "{code}");
        }
    }

    #[test]
    fn a_broken_connection_is_the_servers_doing_only_where_no_row_can_break_it() {
        let broken = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert_eq!(failure_kind(&broken), FailureKind::Transient);
        assert_eq!(control_failure_kind(&broken), FailureKind::Unavailable);
        let refused = sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into());
        assert_eq!(failure_kind(&refused), FailureKind::Unavailable);
    }
}
