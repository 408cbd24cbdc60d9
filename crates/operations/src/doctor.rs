//! Checks every server and the fleet, and changes nothing.

mod clocks;
mod fleet;
pub mod report;
mod servers;

use tidemark_broker::RabbitQueue;
use tidemark_postgres::connect::ClockReading;
use tidemark_runtime::config::Settings;
use tidemark_runtime::finding::ClockOf;

use self::report::{DoctorReport, Group};

/// `broker` is the configured broker, or the reason why there is none; `None` where no broker is set.
pub async fn check(settings: &Settings, broker: Option<Result<RabbitQueue, String>>) -> DoctorReport {
    let (ledger, clock, pool) = servers::ledger(settings).await;
    let mut groups = vec![servers::settings(settings), ledger];
    let (sources, broker, fleet) = tokio::join!(
        servers::sources(settings, pool.as_ref()),
        servers::broker(settings, broker),
        fleet::group(settings, pool.as_ref())
    );
    let mut clocks: Vec<(ClockOf, ClockReading)> =
        clock.map(|clock| (ClockOf::Ledger, clock)).into_iter().collect();
    for (group, name, clock) in sources {
        groups.push(group);
        clocks.extend(clock.map(|clock| (ClockOf::Source(name.clone()), clock)));
    }
    groups.push(broker);
    groups.push(clocks::group(&clocks));
    groups.push(fleet);
    DoctorReport::new(groups)
}

/// A server that the settings name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Ledger,
    Source,
    Broker,
}

/// The part of [`check`] about the servers of one kind, for settings that are being made.
pub async fn check_server(
    settings: &Settings,
    server: Server,
    broker: Option<Result<RabbitQueue, String>>,
) -> Vec<Group> {
    match server {
        Server::Ledger => vec![servers::ledger(settings).await.0],
        Server::Source => {
            let found = servers::sources(settings, None).await;
            found.into_iter().map(|(group, ..)| group).collect()
        }
        Server::Broker => vec![servers::broker(settings, broker).await],
    }
}
