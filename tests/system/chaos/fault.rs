//! The faults of chaos, and how often each happens.

use std::fmt;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Producer,
    Worker,
    Finalizer,
}

/// A server, or the network to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    Broker,
    Ledger,
    Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL; another starts a little later.
    Kill(Role),
    /// SIGTERM, as in a rolling restart.
    Terminate(Role),
    /// SIGSTOP, and SIGCONT later: perhaps after the lease has run out.
    Freeze(Role),
    /// Every connection closed.
    Cut(Site),
    /// Connections go silent, and are closed later.
    Stall(Site),
    /// Connections are closed in one direction, and in the other later.
    HalfClose(Site),
    /// All traffic is delayed for a while.
    Delay(Site),
    /// Connections are closed, and new ones refused for a while.
    Refuse(Site),
    /// The server shuts down in order and starts again.
    Restart(Site),
    /// The server ends at once and starts again.
    Crash(Site),
    /// The broker loses everything that it holds.
    Empty,
    /// One queue is emptied.
    Purge,
    /// One queue is deleted.
    Delete,
}

/// A source never crashes. A crash may lose transactions that were not yet on disk: the source would have gone back
/// in time, which stops its tenants with an error (trap 17).
const DECK: &[(Fault, f64)] = &[
    (Fault::Kill(Role::Worker), 12.0),
    (Fault::Kill(Role::Producer), 6.0),
    (Fault::Kill(Role::Finalizer), 6.0),
    (Fault::Terminate(Role::Worker), 6.0),
    (Fault::Terminate(Role::Producer), 3.0),
    (Fault::Terminate(Role::Finalizer), 3.0),
    (Fault::Freeze(Role::Worker), 10.0),
    (Fault::Freeze(Role::Producer), 4.0),
    (Fault::Freeze(Role::Finalizer), 4.0),
    (Fault::Cut(Site::Broker), 5.0),
    (Fault::Cut(Site::Ledger), 5.0),
    (Fault::Cut(Site::Source), 5.0),
    (Fault::Stall(Site::Broker), 3.0),
    (Fault::Stall(Site::Ledger), 3.0),
    (Fault::Stall(Site::Source), 3.0),
    (Fault::HalfClose(Site::Broker), 3.0),
    (Fault::HalfClose(Site::Ledger), 3.0),
    (Fault::HalfClose(Site::Source), 3.0),
    (Fault::Delay(Site::Broker), 2.0),
    (Fault::Delay(Site::Ledger), 2.0),
    (Fault::Delay(Site::Source), 2.0),
    (Fault::Refuse(Site::Broker), 3.0),
    (Fault::Refuse(Site::Ledger), 3.0),
    (Fault::Refuse(Site::Source), 3.0),
    (Fault::Restart(Site::Ledger), 3.0),
    (Fault::Restart(Site::Source), 3.0),
    (Fault::Restart(Site::Broker), 1.0),
    (Fault::Crash(Site::Ledger), 2.0),
    (Fault::Crash(Site::Broker), 0.7),
    (Fault::Empty, 0.7),
    (Fault::Purge, 4.0),
    (Fault::Delete, 3.0),
];

impl Fault {
    /// Draws the next fault.
    pub fn draw(rng: &mut StdRng) -> Self {
        DECK.choose_weighted(rng, |(_, weight)| *weight)
            .expect("the deck has cards with weights")
            .0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Producer => "producer",
            Self::Worker => "worker",
            Self::Finalizer => "finalizer",
        })
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broker => "broker",
            Self::Ledger => "ledger",
            Self::Source => "source",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(role) => write!(f, "kill a {role}"),
            Self::Terminate(role) => write!(f, "terminate a {role}"),
            Self::Freeze(role) => write!(f, "freeze a {role}"),
            Self::Cut(site) => write!(f, "cut the connections to the {site}"),
            Self::Stall(site) => write!(f, "stall the connections to the {site}"),
            Self::HalfClose(site) => write!(f, "half-close the connections to the {site}"),
            Self::Delay(site) => write!(f, "delay the connections to the {site}"),
            Self::Refuse(site) => write!(f, "refuse connections to the {site}"),
            Self::Restart(site) => write!(f, "restart the {site}"),
            Self::Crash(site) => write!(f, "crash the {site}"),
            Self::Empty => f.write_str("the broker loses everything"),
            Self::Purge => f.write_str("purge a queue"),
            Self::Delete => f.write_str("delete a queue"),
        }
    }
}
