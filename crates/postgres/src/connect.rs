//! What every session on PostgreSQL has in common: its settings, and the clock of its server.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;

pub use crate::error::{ConnectError, tls_fault};

/// A server notices within a minute that a client's machine is gone, and drops its transactions and locks.
pub const KEEPALIVE: [(&str, &str); 3] = [
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

/// How to make a connection that others cannot read.
pub const SSL_MODE: &str =
    "sslmode=verify-full in the URL, and sslrootcert=FILE for an authority of your own";

/// Compresses staged values by lz4; they keep that compression in the target, also if the column has another. Servers
/// before 14, or built without lz4, keep pglz. $1: for this transaction only
const PREFER_LZ4: &str = "SELECT set_config(name, 'lz4', $1) FROM pg_settings \
     WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals)";
/// The pooler between the processes and the analytics database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabasePooler {
    /// No pooler: sessions belong to the processes.
    #[default]
    None,
    /// A pooler that lends sessions for one transaction.
    Transaction,
}

/// A server's clock, and when it was read by this machine's monotonic clock: two readings tell how far two servers'
/// clocks are apart.
#[derive(Debug, Clone, Copy)]
pub struct ClockReading {
    pub clock: DateTime<Utc>,
    pub read_at: Instant,
}

impl ClockReading {
    /// How far this clock is ahead of the other; negative when it is behind.
    #[must_use]
    pub fn ahead_of(&self, other: &Self) -> TimeDelta {
        let between = if self.read_at >= other.read_at {
            TimeDelta::from_std(self.read_at - other.read_at).unwrap_or(TimeDelta::MAX)
        } else {
            -TimeDelta::from_std(other.read_at - self.read_at).unwrap_or(TimeDelta::MAX)
        };
        self.clock - other.clock - between
    }
}

/// Reads the server's clock; half of the round trip is subtracted.
pub async fn read_clock(connection: &mut PgConnection) -> Result<ClockReading, sqlx::Error> {
    let asked_at = Instant::now();
    let clock = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(connection)
        .await?;
    Ok(ClockReading {
        clock,
        read_at: asked_at + asked_at.elapsed() / 2,
    })
}

/// Options for sessions that a pooler lends: no prepared statements are kept. PgBouncer accepts only the startup
/// settings that it knows.
pub fn without_cache(options: PgConnectOptions) -> PgConnectOptions {
    options.extra_float_digits(None).statement_cache_capacity(0)
}

/// Compresses values that are stored from now on by lz4, where the server supports it: for the session, or for the
/// transaction.
pub async fn prefer_lz4(connection: &mut PgConnection, transaction: bool) -> Result<(), sqlx::Error> {
    sqlx::query(PREFER_LZ4)
        .bind(transaction)
        .execute(connection)
        .await
        .map(drop)
}
