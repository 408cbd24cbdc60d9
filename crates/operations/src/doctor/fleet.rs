//! The processes and tenants, as the ledger has them.

use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_ledger::DbError;
use tidemark_ledger::process::Process;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_runtime::config::Settings;
use tidemark_runtime::finding::{Check, Finding, Found, with_time_limit};
use tidemark_shared::ids::TenantId;

use super::report::{Group, GroupName};
use crate::status::Overview;

const LIMIT: Duration = Duration::from_secs(20);

pub(super) async fn group(settings: &Settings, pool: Option<&DbPool>) -> Group {
    let mut findings = Vec::new();
    match pool {
        None => findings.push(Finding::skipped(Check::Fleet, Found::NoLedger)),
        Some(pool) => {
            with_time_limit(LIMIT, &mut findings, async |findings| {
                if let Err(error) = check(settings, pool, findings).await {
                    findings.push(Finding::not_checked(Check::Fleet, report(&error)));
                }
            })
            .await;
        }
    }
    Group::new(GroupName::Fleet, None, findings)
}

async fn check(settings: &Settings, pool: &DbPool, findings: &mut Vec<Finding>) -> Result<(), DbError> {
    let overview = Overview::load(pool, settings).await?;
    processes(&overview.processes, findings);
    tenants(settings, pool, &overview, findings).await?;
    for dead in ledger::checkup::dead_chunks(pool).await? {
        findings.push(
            Finding::warning(
                Check::Dead,
                Found::DeadChunks {
                    run: dead.run_id,
                    tenant: dead.tenant_id,
                    chunks: dead.count,
                },
            )
            .todo(format!("tidemark chunk list --run {} --status dead", dead.run_id))
            .todo(format!("tidemark run retry {}", dead.run_id)),
        );
    }
    let rejects = ledger::checkup::open_rejects(pool).await?;
    if !rejects.is_empty() {
        findings.push(
            Finding::warning(Check::Rejects, Found::RejectedRows(rejects)).todo("tidemark rejected list"),
        );
    }
    for (webhook, dead, error) in ledger::webhook::list_troubled(pool).await? {
        findings.push(
            Finding::warning(
                Check::Webhooks,
                Found::WebhookGivenUp {
                    webhook,
                    messages: dead,
                    error,
                },
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
    let missing: Vec<&'static str> = ["producer", "worker", "finalizer"]
        .into_iter()
        .filter(|role| of_role(role).next().is_none())
        .collect();
    match missing.as_slice() {
        [] => findings.push(Finding::ok(Check::Processes, Found::ProcessesRun(live.len()))),
        [_, _, _] => {
            findings.push(Finding::warning(Check::Processes, Found::NoProcess).todo("tidemark up"));
        }
        some => {
            for role in some {
                findings.push(
                    Finding::warning(Check::Processes, Found::NoRole(role)).todo(format!("tidemark {role}")),
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
            Check::Versions,
            Found::OtherVersions { mine, others },
        ));
    }
    let cut_off: Vec<String> = live
        .iter()
        .filter(|process| process.broker_trouble().is_some())
        .map(|process| process.instance.clone())
        .collect();
    if !cut_off.is_empty() {
        findings.push(Finding::warning(Check::Processes, Found::CutOff(cut_off)));
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
            Finding::ok(Check::Tenants, Found::NoTenants).todo("tidemark tenant add --id 1 --name '…'"),
        );
        return Ok(());
    }
    let of_unknown: Vec<(TenantId, String)> = all
        .iter()
        .filter(|tenant| settings.source(&tenant.source).is_err())
        .map(|tenant| (tenant.id, tenant.source.clone()))
        .collect();
    if !of_unknown.is_empty() {
        findings.push(Finding::error(Check::Tenants, Found::SourcesUnknown(of_unknown)));
    }
    let without: Vec<TenantId> = overview
        .tenants
        .iter()
        .filter(|tenant| tenant.inboxes == 0)
        .map(|tenant| tenant.tenant_id)
        .collect();
    if let Some(first) = without.first().copied() {
        findings.push(
            Finding::warning(Check::Tenants, Found::WithoutInbox(without))
                .todo("tidemark account list")
                .todo(format!("tidemark inbox map --tenant {first} --inbox …")),
        );
    }
    for tenant in &overview.tenants {
        if tenant.inboxes == 0 || !(tenant.late || tenant.consecutive_failures > 0) {
            continue;
        }
        findings.push(
            Finding::warning(
                Check::Tenants,
                Found::Behind {
                    tenant: tenant.tenant_id,
                    held_by: tenant.blocker.as_ref().map(|blocker| blocker.held_by.clone()),
                },
            )
            .todo(format!("tidemark run list --tenant {}", tenant.tenant_id)),
        );
    }
    findings.push(Finding::ok(Check::Tenants, Found::Tenants(all.len())));
    inboxes(overview, findings);
    Ok(())
}

/// Inboxes that nobody syncs, and inboxes that are gone from their source.
fn inboxes(overview: &Overview, findings: &mut Vec<Finding>) {
    for inbox in &overview.unsynced_inboxes {
        let found = Found::Unsynced(inbox.clone());
        let finding = if inbox.is_decided() {
            Finding::ok(Check::Inboxes, found)
        } else {
            Finding::warning(Check::Inboxes, found)
        };
        findings.push(finding.todo(inbox.command()));
    }
    for tenant in &overview.tenants {
        if tenant.undecided.is_some() {
            let (waiting, all) = tenant.waiting();
            findings.push(Finding::warning(
                Check::Inboxes,
                Found::Undecided {
                    tenant: tenant.tenant_id,
                    waiting,
                    all,
                },
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
    if let Some(first) = differing.first().copied() {
        findings.push(
            Finding::warning(Check::Verified, Found::Differing(differing))
                .todo(format!("tidemark verify --tenant {first} --repair")),
        );
    }
    if let Some(first) = unproven.first().copied() {
        let todo = match unproven.len() {
            1 => format!("tidemark verify --tenant {first}"),
            _ => "tidemark verify --all".to_owned(),
        };
        findings.push(Finding::warning(Check::Verified, Found::NotCompared(unproven)).todo(todo));
    }
    Ok(())
}
