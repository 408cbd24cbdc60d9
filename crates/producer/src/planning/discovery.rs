//! Compares the inboxes of tenants with those of their Chatwoot accounts. New inboxes of an account are mapped to its tenant
//! before it is planned, and the others are recorded with the reason why nobody syncs them.

use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_ledger::unsynced::{AccountInbox, ListedAccount};
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_shared::ids::TenantId;
use tidemark_source::accounts::{InboxComparison, TenantInboxes};

use crate::planning::error::PlanError;
use crate::planning::member::Member;
use crate::planning::signals::Signals;

/// Compares the inboxes with one statement at the source, and gives the members the new ones. An error of the ledger leaves
/// the inboxes to the next plan.
pub(crate) async fn discover_inboxes(
    db: &DbPool,
    signals: &mut Signals<'_>,
    members: &mut [Member],
    digest_interval: Duration,
) -> Result<(), PlanError> {
    let tenants = inboxes_of(members);
    let has_nothing_to_compare = tenants.accounts.is_empty() && tenants.mapped.is_empty();
    // a view has to be read for its inboxes, so it is read no more often than for digests, and only for accounts
    let would_cost_too_much = signals.shape.view().is_some()
        && (tenants.accounts.is_empty() || members.iter().all(|member| !member.compares_digests));
    if has_nothing_to_compare || would_cost_too_much {
        return Ok(());
    }
    let found = signals
        .source
        .compare_inboxes(signals.tx.connection(), signals.shape, &tenants)
        .await?;
    let source = signals.source.name();
    if let Err(error) = record(db, source, members, tenants.accounts, found, digest_interval).await {
        tracing::warn!(error = %report(&error), source, "new inboxes not recorded, the next plan looks again");
    }
    Ok(())
}

fn inboxes_of(members: &[Member]) -> TenantInboxes {
    let mut tenants = TenantInboxes::default();
    for member in members {
        tenants.accounts.extend(member.tenant.account_id);
        for inbox in &member.inboxes {
            tenants.mapped.push(*inbox);
            tenants.names_account.push(member.tenant.account_id.is_none());
        }
    }
    tenants.accounts.sort_unstable();
    tenants.accounts.dedup();
    tenants
}

async fn record(
    db: &DbPool,
    source: &str,
    members: &mut [Member],
    accounts: Vec<i32>,
    found: InboxComparison,
    digest_interval: Duration,
) -> Result<(), ledger::DbError> {
    if let Some(gone) = &found.gone {
        record_gone(db, source, members, gone).await?;
    }
    let unmapped: Vec<AccountInbox> = found
        .unmapped
        .into_iter()
        .map(|(account_id, inbox)| AccountInbox { account_id, inbox })
        .collect();
    let taken = ledger::unsynced::take(db, source, &unmapped).await?;
    for (inbox, tenant) in &taken {
        tracing::info!(tenant.id = %tenant, inbox, "new inbox of the account mapped");
    }
    let listed = |id, known_by| ListedAccount { id, known_by };
    let listed: Vec<ListedAccount> = accounts
        .into_iter()
        .map(|account| listed(account, None))
        .chain(
            found
                .named_accounts
                .into_iter()
                .map(|(account, inbox)| listed(account, Some(inbox))),
        )
        .collect();
    ledger::unsynced::record(db, source, &listed, &unmapped).await?;
    let changed: Vec<TenantId> = members
        .iter()
        .map(|member| member.tenant.id)
        .filter(|tenant| taken.iter().any(|(_, taker)| taker == tenant))
        .collect();
    if !changed.is_empty() {
        for to_plan in ledger::tenant::list_to_plan(db, &changed).await? {
            let member = members
                .iter_mut()
                .find(|member| member.tenant.id == to_plan.tenant.id);
            if let Some(member) = member {
                member.remap(to_plan, digest_interval);
            }
        }
    }
    if !unmapped.is_empty() {
        for inbox in ledger::unsynced::list(db, Some(source)).await? {
            for member in members.iter_mut() {
                let concerns = inbox.tenant_id == Some(member.tenant.id)
                    || (inbox.tenant_id.is_none() && member.tenant.account_id == Some(inbox.account_id));
                if concerns && !inbox.is_decided() {
                    member
                        .warnings
                        .push(format!("{inbox}; next: {}", inbox.command()));
                }
            }
        }
    }
    Ok(())
}

/// Records which of the members' inboxes are gone, where the ledger does not have it yet.
async fn record_gone(
    db: &DbPool,
    source: &str,
    members: &[Member],
    gone: &[i32],
) -> Result<(), ledger::DbError> {
    let known = || members.iter().flat_map(|member| &member.gone);
    let newly: Vec<i32> = gone
        .iter()
        .copied()
        .filter(|inbox| !known().any(|known| known == inbox))
        .collect();
    let back: Vec<i32> = known().copied().filter(|inbox| !gone.contains(inbox)).collect();
    if newly.is_empty() && back.is_empty() {
        return Ok(());
    }
    tracing::warn!(source, gone = ?newly, back = ?back, "inboxes of tenants are gone from the source, or back");
    ledger::inbox::record_gone(db, source, &newly, &back).await
}
