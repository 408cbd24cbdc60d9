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
use tidemark_runtime::finding::{Finding, with_time_limit};
use tidemark_source::checkup::KnownState;
use tidemark_source::{Source, Sources};

use super::report::Group;

/// For all questions to one server together.
const LIMIT: Duration = Duration::from_secs(30);

/// Finds secret files that others can read, and a ledger that grows without limit.
pub(super) fn settings(settings: &Settings) -> Group {
    let mut findings: Vec<Finding> = settings
        .exposed_secret_files
        .iter()
        .map(|path| {
            let path = path.display();
            let found = format!("{path} contains a secret, and others on this machine can read it");
            Finding::warning("files", found).todo(format!("chmod 600 {path}"))
        })
        .collect();
    if settings.retention.prune_every.is_zero() {
        let found = "retention.prune_every is 0s: nothing is pruned, and the ledger grows without limit";
        findings.push(Finding::warning("retention", found).todo("tidemark prune"));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            "settings",
            "valid; no file with a secret can be read by others",
        ));
    }
    Group::new("settings", None, findings)
}

/// Checks the analytics database. Returns a pool where the ledger can be queried.
pub(super) async fn ledger(settings: &Settings) -> (Group, Option<ClockReading>, Option<DbPool>) {
    let url = match settings.database_url() {
        Ok(url) => url,
        Err(error) => {
            let finding = Finding::error("connection", error.to_string());
            return (Group::new("ledger", None, vec![finding]), None, None);
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
            Err(error) => findings.push(Finding::error("connection", report(&error))),
        }
    }
    if let Some(pool) = &usable {
        with_time_limit(LIMIT, &mut findings, async |findings| {
            findings.extend(isolated(pool).await);
        })
        .await;
    }
    (
        Group::new("ledger", Some(server_name(url)), findings),
        examined.clock,
        usable,
    )
}

async fn isolated(pool: &DbPool) -> Vec<Finding> {
    let found = match isolation::check(pool).await {
        Ok(found) => found,
        Err(error) => return vec![Finding::not_checked("isolation", report(&error))],
    };
    if found.is_empty() {
        return vec![Finding::ok(
            "isolation",
            "row-level security keeps tenants apart, by the catalog and by a test query",
        )];
    }
    found
        .into_iter()
        .map(|found| {
            let level = if found.stops_start {
                Finding::error
            } else {
                Finding::warning
            };
            level("isolation", found.problem).todo(found.fix)
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
            let finding = Finding::error("connection", report(&error));
            return vec![(Group::new("sources", None, vec![finding]), String::new(), None)];
        }
    };
    for (name, _) in settings.sources.iter().filter(|(_, source)| source.url.is_none()) {
        let finding = Finding::error("connection", format!("sources.{name}.url is not set"));
        groups.push((
            Group::new(format!("source {name}"), None, vec![finding]),
            name.clone(),
            None,
        ));
    }
    if sources.iter().next().is_none() && groups.is_empty() {
        let finding = Finding::error(
            "connection",
            "no source is configured: set TIDEMARK_SOURCE_URL, or sources.NAME.url",
        );
        groups.push((Group::new("sources", None, vec![finding]), String::new(), None));
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
        format!("source {}", source.name()),
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
        findings.push(Finding::not_checked("fence", report(&error)));
        KnownState::default()
    })
}

pub(super) async fn broker(settings: &Settings, broker: Option<Result<RabbitQueue, String>>) -> Group {
    let mut findings = Vec::new();
    match broker {
        None => findings.push(
            Finding::warning(
                "connection",
                "no broker is set: only `sync --local` works without one",
            )
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
        Some(Err(error)) => findings.push(Finding::error("connection", error)),
    }
    Group::new("broker", None, findings)
}
