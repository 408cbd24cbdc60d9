//! Checks every server and the fleet, and changes nothing.

mod clocks;
mod fleet;
pub mod report;
mod servers;

use tidemark_broker::RabbitQueue;
use tidemark_postgres::connect::ClockReading;
use tidemark_runtime::config::Settings;

use self::report::DoctorReport;

/// `broker` is the configured broker, or the reason why there is none; `None` where no broker is set.
pub async fn check(settings: &Settings, broker: Option<Result<RabbitQueue, String>>) -> DoctorReport {
    let (ledger, clock, pool) = servers::ledger(settings).await;
    let mut groups = vec![servers::settings(settings), ledger];
    let (sources, broker, fleet) = tokio::join!(
        servers::sources(settings, pool.as_ref()),
        servers::broker(settings, broker),
        fleet::group(settings, pool.as_ref())
    );
    let mut clocks: Vec<(String, ClockReading)> = clock
        .map(|clock| ("the ledger".to_owned(), clock))
        .into_iter()
        .collect();
    for (group, name, clock) in sources {
        groups.push(group);
        clocks.extend(clock.map(|clock| (format!("source `{name}`"), clock)));
    }
    groups.push(broker);
    groups.push(clocks::group(&clocks));
    groups.push(fleet);
    DoctorReport::new(groups)
}
