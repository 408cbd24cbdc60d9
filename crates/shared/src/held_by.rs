//! What blocks a tenant, as a code with its parameters. Front ends write it in their languages; its text is the English one, which
//! scripts read.

use std::fmt;

/// What kind of obstacle it is: a front end shows the action that removes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockerKind {
    Paused,
    NotActive,
    NoInboxes,
    NoProducer,
    NoWorker,
    NoFinalizer,
    Broker,
    /// Chunks wait for their next attempt.
    Retrying,
    /// Its last runs failed.
    Failing,
    NotPlanned,
    /// The source cannot be sampled.
    Source,
    /// An open transaction at the source holds the fence.
    Fence,
    Limit,
}

/// Whose limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitOf {
    Tenant,
    Source,
    Fleet,
}

/// What blocks a tenant, with what a sentence needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldBy {
    Paused {
        reason: Option<String>,
    },
    NotActive,
    NoInboxes,
    NoProducer,
    NoWorker,
    NoFinalizer,
    Broker {
        trouble: String,
    },
    Retrying {
        chunks: i64,
        error: Option<String>,
    },
    Failing {
        in_a_row: i32,
        error: Option<String>,
    },
    NotPlanned {
        error: String,
    },
    Source {
        source: String,
    },
    Fence {
        pid: Option<i32>,
        prepared: Option<String>,
    },
    Limit {
        whose: LimitOf,
        in_flight: i64,
        limit: i32,
        /// Of a chunk that waits.
        error: Option<String>,
    },
}

impl HeldBy {
    #[must_use]
    pub const fn kind(&self) -> BlockerKind {
        match self {
            Self::Paused { .. } => BlockerKind::Paused,
            Self::NotActive => BlockerKind::NotActive,
            Self::NoInboxes => BlockerKind::NoInboxes,
            Self::NoProducer => BlockerKind::NoProducer,
            Self::NoWorker => BlockerKind::NoWorker,
            Self::NoFinalizer => BlockerKind::NoFinalizer,
            Self::Broker { .. } => BlockerKind::Broker,
            Self::Retrying { .. } => BlockerKind::Retrying,
            Self::Failing { .. } => BlockerKind::Failing,
            Self::NotPlanned { .. } => BlockerKind::NotPlanned,
            Self::Source { .. } => BlockerKind::Source,
            Self::Fence { .. } => BlockerKind::Fence,
            Self::Limit { .. } => BlockerKind::Limit,
        }
    }
}

fn write_more(out: &mut fmt::Formatter<'_>, more: Option<&str>) -> fmt::Result {
    match more {
        Some(more) => write!(out, ": {more}"),
        None => Ok(()),
    }
}

impl fmt::Display for HeldBy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused { reason } => {
                out.write_str("paused")?;
                write_more(out, reason.as_deref())
            }
            Self::NotActive => out.write_str("not active"),
            Self::NoInboxes => out.write_str("no inboxes"),
            Self::NoProducer => out.write_str("no producer"),
            Self::NoWorker => out.write_str("no worker"),
            Self::NoFinalizer => out.write_str("no finalizer"),
            Self::Broker { trouble } => out.write_str(trouble),
            Self::Retrying { chunks, error } => {
                let noun = if *chunks == 1 { "chunk" } else { "chunks" };
                write!(out, "retrying {chunks} {noun}")?;
                write_more(out, error.as_deref())
            }
            Self::Failing { in_a_row, error } => {
                write!(out, "failing, {in_a_row} in a row")?;
                write_more(out, error.as_deref())
            }
            Self::NotPlanned { error } => write!(out, "not planned yet: {error}"),
            Self::Source { source } => write!(out, "source {source} cannot be sampled"),
            Self::Fence { pid: Some(pid), .. } => write!(out, "fence: pid {pid}"),
            Self::Fence {
                prepared: Some(name), ..
            } => write!(out, "fence: prepared transaction {name}"),
            Self::Fence { .. } => out.write_str("fence"),
            Self::Limit {
                whose,
                in_flight,
                limit,
                error,
            } => {
                let whose = match whose {
                    LimitOf::Tenant => "tenant",
                    LimitOf::Source => "source",
                    LimitOf::Fleet => "fleet",
                };
                write!(out, "limit of the {whose}, {in_flight} of {limit} in flight")?;
                match error {
                    Some(error) => write!(out, "; a waiting chunk: {error}"),
                    None => Ok(()),
                }
            }
        }
    }
}
