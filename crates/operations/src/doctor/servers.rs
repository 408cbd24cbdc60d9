//! The settings, and each server that they name.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tidemark_broker::RabbitQueue;
use tidemark_ledger as ledger;
use tidemark_ledger::checkup::ServerState;
use tidemark_ledger::connect::pool;
use tidemark_ledger::isolation;
use tidemark_net::url::server_name;
use tidemark_postgres::DbPool;
use tidemark_postgres::connect::ClockReading;
use tidemark_postgres::report::report;
use tidemark_runtime::config::Settings;
use tidemark_runtime::finding::{Check, Finding, Found, with_time_limit};
use tidemark_source::checkup::KnownState;
use tidemark_source::{Source, Sources};

use super::report::{Group, GroupName};

/// For all questions to one server together.
const LIMIT: Duration = Duration::from_secs(30);

/// Finds secret files that others can read, and a ledger that grows without limit.
pub(super) fn settings(settings: &Settings) -> Group {
    let mut findings: Vec<Finding> = settings
        .exposed_secret_files
        .iter()
        .map(|path| {
            let path = path.display();
            Finding::warning(Check::Files, Found::ExposedFile(path.to_string()))
                .todo(format!("chmod 600 {path}"))
        })
        .collect();
    if settings.retention.prune_every.is_zero() {
        findings.push(Finding::warning(Check::Retention, Found::NothingPruned).todo("tidemark prune"));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(Check::Settings, Found::SettingsValid));
    }
    Group::new(GroupName::Settings, None, findings)
}

/// Checks the analytics database. Returns a pool where the ledger can be queried.
pub(super) async fn ledger(settings: &Settings) -> (Group, Option<ClockReading>, Option<DbPool>) {
    let url = match settings.database_url() {
        Ok(url) => url,
        Err(error) => {
            let finding = Finding::error(Check::Connection, Found::Config(Arc::new(error)));
            return (Group::new(GroupName::Ledger, None, vec![finding]), None, None);
        }
    };
    let mut findings = Vec::new();
    let mut examined = ServerState::default();
    with_time_limit(LIMIT, &mut findings, async |findings| {
        ledger::checkup::check_up(url, settings.database_pooler, &mut examined, findings).await;
    })
    .await;
    let mut usable = None;
    if examined.is_usable {
        match pool(url, "doctor", 2, settings.database_pooler).await {
            Ok(pool) => usable = Some(pool),
            Err(error) => findings.push(Finding::error(Check::Connection, Found::Failed(report(&error)))),
        }
    }
    if let Some(pool) = &usable {
        with_time_limit(LIMIT, &mut findings, async |findings| {
            findings.extend(isolated(pool).await);
        })
        .await;
    }
    (
        Group::new(GroupName::Ledger, Some(server_name(url)), findings),
        examined.clock,
        usable,
    )
}

async fn isolated(pool: &DbPool) -> Vec<Finding> {
    let found = match isolation::check(pool).await {
        Ok(found) => found,
        Err(error) => return vec![Finding::not_checked(Check::Isolation, report(&error))],
    };
    if found.is_empty() {
        return vec![Finding::ok(Check::Isolation, Found::Isolated)];
    }
    found
        .into_iter()
        .map(|found| {
            let finding = if found.stops_start {
                Finding::error(Check::Isolation, found.problem)
            } else {
                Finding::warning(Check::Isolation, found.problem)
            };
            finding.todo(found.fix)
        })
        .collect()
}

/// Checks all sources at the same time, so that one that is away does not delay the others.
pub(super) async fn sources(
    settings: &Settings,
    pool: Option<&DbPool>,
) -> Vec<(Group, String, Option<ClockReading>)> {
    let mut groups = Vec::new();
    let sources = match Sources::new(settings, "doctor") {
        Ok(sources) => sources,
        Err(error) => {
            let finding = Finding::error(Check::Connection, Found::Failed(report(&error)));
            return vec![(
                Group::new(GroupName::Sources, None, vec![finding]),
                String::new(),
                None,
            )];
        }
    };
    for (name, _) in settings.sources.iter().filter(|(_, source)| source.url.is_none()) {
        let finding = Finding::error(Check::Connection, Found::SourceUrlNotSet(name.clone()));
        groups.push((
            Group::new(GroupName::Source(name.clone()), None, vec![finding]),
            name.clone(),
            None,
        ));
    }
    if sources.iter().next().is_none() && groups.is_empty() {
        let finding = Finding::error(Check::Connection, Found::NoSource);
        groups.push((
            Group::new(GroupName::Sources, None, vec![finding]),
            String::new(),
            None,
        ));
    }
    let digests_every_plan = settings.producer.digest_interval.is_zero();
    let looking = sources
        .iter()
        .map(|source| one_source(Arc::clone(source), pool, digests_every_plan));
    groups.extend(join_all(looking).await);
    groups
}

async fn one_source(
    source: Arc<Source>,
    pool: Option<&DbPool>,
    digests_every_plan: bool,
) -> (Group, String, Option<ClockReading>) {
    let mut findings = Vec::new();
    let mut clock = None;
    with_time_limit(LIMIT, &mut findings, async |findings| {
        let known = match pool {
            Some(pool) => known(pool, source.name(), findings).await,
            None => KnownState::default(),
        };
        let known = KnownState {
            digests_every_plan,
            ..known
        };
        source.check_up(known, &mut clock, findings).await;
    })
    .await;
    let group = Group::new(
        GroupName::Source(source.name().to_owned()),
        Some(source.server().to_owned()),
        findings,
    );
    (group, source.name().to_owned(), clock)
}

async fn known(pool: &DbPool, source: &str, findings: &mut Vec<Finding>) -> KnownState {
    let asked = async {
        let state = ledger::fence::find(pool, source).await?;
        let watches = ledger::source_watch::list(pool).await?;
        let watch = watches.into_iter().find(|watch| watch.source == source);
        Ok::<KnownState, ledger::DbError>(KnownState {
            highest_xmax: state.map(|state| state.highest_xmax),
            fence_at: watch.as_ref().and_then(|watch| watch.fence_at),
            sampled_at: watch.as_ref().and_then(|watch| watch.looked_at),
            ..KnownState::default()
        })
    };
    asked.await.unwrap_or_else(|error| {
        findings.push(Finding::not_checked(Check::Fence, report(&error)));
        KnownState::default()
    })
}

pub(super) async fn broker(settings: &Settings, broker: Option<Result<RabbitQueue, String>>) -> Group {
    let mut findings = Vec::new();
    match broker {
        None => findings.push(
            Finding::warning(Check::Connection, Found::NoBroker)
                .todo("TIDEMARK_AMQP_URL=amqp://user:password@host:5672/%2f"),
        ),
        Some(Ok(rabbit)) => {
            with_time_limit(LIMIT, &mut findings, async |findings| {
                rabbit
                    .check_up(settings.amqp_management_url.as_ref(), findings)
                    .await;
            })
            .await;
        }
        Some(Err(error)) => findings.push(Finding::error(Check::Connection, Found::Failed(error))),
    }
    Group::new(GroupName::Broker, None, findings)
}
