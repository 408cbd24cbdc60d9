//! The processes and tenants, as the ledger has them.

use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_ledger::DbError;
use tidemark_ledger::checkup::list_counts;
use tidemark_ledger::process::Process;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_runtime::config::Settings;
use tidemark_runtime::finding::{Finding, counted, listed, with_time_limit};
use tidemark_shared::ids::TenantId;

use super::report::Group;
use crate::status::Overview;

const LIMIT: Duration = Duration::from_secs(20);

pub(super) async fn group(settings: &Settings, pool: Option<&DbPool>) -> Group {
    let mut findings = Vec::new();
    match pool {
        None => findings.push(Finding::not_checked("fleet", "the ledger cannot be asked")),
        Some(pool) => {
            with_time_limit(LIMIT, &mut findings, async |findings| {
                if let Err(error) = check(settings, pool, findings).await {
                    findings.push(Finding::not_checked("fleet", report(&error)));
                }
            })
            .await;
        }
    }
    Group::new("fleet", None, findings)
}

async fn check(settings: &Settings, pool: &DbPool, findings: &mut Vec<Finding>) -> Result<(), DbError> {
    let overview = Overview::load(pool, settings).await?;
    processes(&overview.processes, findings);
    tenants(settings, pool, &overview, findings).await?;
    for dead in ledger::checkup::dead_chunks(pool).await? {
        findings.push(
            Finding::warning(
                "dead",
                format!(
                    "run {} of tenant {} has {} dead chunks",
                    dead.run_id, dead.tenant_id, dead.count
                ),
            )
            .todo(format!("tidemark chunk list --run {} --status dead", dead.run_id))
            .todo(format!("tidemark run retry {}", dead.run_id)),
        );
    }
    let rejects = ledger::checkup::open_rejects(pool).await?;
    if !rejects.is_empty() {
        findings.push(
            Finding::warning(
                "rejects",
                format!("rejected rows: tenant {}", list_counts(&rejects)),
            )
            .todo("tidemark rejected list"),
        );
    }
    for (webhook, dead, error) in ledger::webhook::list_troubled(pool).await? {
        let why = error.map_or_else(String::new, |error| format!(": {error}"));
        findings.push(
            Finding::warning(
                "webhooks",
                format!("{dead} messages of webhook {webhook} were given up within the last day{why}"),
            )
            .todo(format!("tidemark webhook show {webhook}"))
            .todo(format!("tidemark webhook test {webhook}")),
        );
    }
    verified(pool, findings).await
}

fn processes(live: &[Process], findings: &mut Vec<Finding>) {
    let of_role = |role: &str| {
        let role = role.to_owned();
        live.iter()
            .filter(move |process| process.role == role || process.role == "up")
    };
    let missing: Vec<&str> = ["producer", "worker", "finalizer"]
        .into_iter()
        .filter(|role| of_role(role).next().is_none())
        .collect();
    match missing.as_slice() {
        [] => findings.push(Finding::ok(
            "processes",
            format!("{} run, with every role", live.len()),
        )),
        [_, _, _] => {
            findings.push(Finding::warning("processes", "no process runs").todo("tidemark up"));
        }
        some => {
            for role in some {
                findings.push(
                    Finding::warning("processes", format!("no {role} runs")).todo(format!("tidemark {role}")),
                );
            }
        }
    }
    let mine = env!("CARGO_PKG_VERSION");
    let others: Vec<String> = live
        .iter()
        .filter(|process| process.version != mine)
        .map(|process| format!("{} ({})", process.instance, process.version))
        .collect();
    if !others.is_empty() {
        findings.push(Finding::warning(
            "versions",
            format!(
                "this is {mine}, but others run another version: {}; finish the upgrade",
                listed(&others)
            ),
        ));
    }
    let cut_off: Vec<&str> = live
        .iter()
        .filter(|process| process.broker_trouble().is_some())
        .map(|process| process.instance.as_str())
        .collect();
    if !cut_off.is_empty() {
        findings.push(Finding::warning(
            "processes",
            format!(
                "these cannot publish or are not subscribed: {}; see the broker above",
                listed(&cut_off)
            ),
        ));
    }
}

async fn tenants(
    settings: &Settings,
    pool: &DbPool,
    overview: &Overview,
    findings: &mut Vec<Finding>,
) -> Result<(), DbError> {
    let all = ledger::tenant::list(pool).await?;
    if all.is_empty() {
        findings.push(
            Finding::ok("tenants", "there are no tenants yet").todo("tidemark tenant add --id 1 --name '…'"),
        );
        return Ok(());
    }
    let of_unknown: Vec<String> = all
        .iter()
        .filter(|tenant| settings.source(&tenant.source).is_err())
        .map(|tenant| format!("{} (source `{}`)", tenant.id, tenant.source))
        .collect();
    if !of_unknown.is_empty() {
        findings.push(Finding::error(
            "tenants",
            format!(
                "the sources of these tenants are not configured here: {}",
                listed(&of_unknown)
            ),
        ));
    }
    let without: Vec<TenantId> = overview
        .tenants
        .iter()
        .filter(|tenant| tenant.inboxes == 0)
        .map(|tenant| tenant.tenant_id)
        .collect();
    if let Some(first) = without.first() {
        findings.push(
            Finding::warning(
                "tenants",
                format!("no run is planned without an inbox: tenant {}", listed(&without)),
            )
            .todo("tidemark account list")
            .todo(format!("tidemark inbox map --tenant {first} --inbox …")),
        );
    }
    for tenant in &overview.tenants {
        if tenant.inboxes == 0 || !(tenant.late || tenant.consecutive_failures > 0) {
            continue;
        }
        let held = tenant.held_by.as_deref().map(|held| format!(", held by: {held}"));
        findings.push(
            Finding::warning(
                "tenants",
                format!(
                    "tenant {} is behind{}",
                    tenant.tenant_id,
                    held.unwrap_or_default()
                ),
            )
            .todo(format!("tidemark run list --tenant {}", tenant.tenant_id)),
        );
    }
    findings.push(Finding::ok("tenants", counted(all.len(), "tenant")));
    inboxes(overview, findings);
    Ok(())
}

/// Inboxes that nobody syncs, and inboxes that are gone from their source.
fn inboxes(overview: &Overview, findings: &mut Vec<Finding>) {
    for inbox in &overview.unsynced_inboxes {
        let level = if inbox.is_decided() {
            Finding::ok
        } else {
            Finding::warning
        };
        findings.push(level("inboxes", inbox.to_string()).todo(inbox.command()));
    }
    for tenant in &overview.tenants {
        if let Some(undecided) = &tenant.undecided {
            findings.push(Finding::warning(
                "inboxes",
                format!("tenant {}: {undecided}", tenant.tenant_id),
            ));
        }
    }
}

async fn verified(pool: &DbPool, findings: &mut Vec<Finding>) -> Result<(), DbError> {
    let verified = ledger::checkup::verified(pool).await?;
    let of = |which: fn(&ledger::checkup::Verified) -> bool| -> Vec<TenantId> {
        verified
            .iter()
            .filter(|one| which(one))
            .map(|one| one.tenant_id)
            .collect()
    };
    let differing = of(|one| one.differs);
    let unproven = of(|one| one.never || (one.long_ago && !one.differs));
    if let Some(first) = differing.first() {
        findings.push(
            Finding::warning(
                "verified",
                format!(
                    "the last comparison found differences: tenant {}",
                    listed(&differing)
                ),
            )
            .todo(format!("tidemark verify --tenant {first} --repair")),
        );
    }
    if let Some(first) = unproven.first() {
        findings.push(
            Finding::warning(
                "verified",
                format!(
                    "never compared with the source, or not within 30 days: tenant {}",
                    listed(&unproven)
                ),
            )
            .todo(match unproven.len() {
                1 => format!("tidemark verify --tenant {first}"),
                _ => "tidemark verify --all".to_owned(),
            }),
        );
    }
    Ok(())
}
