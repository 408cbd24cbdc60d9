//! Refuses plans that would delete suspiciously much.

use sqlx::postgres::PgTransaction;
use tidemark_ledger as ledger;
use tidemark_shared::inbox::{WaitingInbox, decision_about};
use tidemark_shared::mass_delete::is_mass_delete;
use tidemark_shared::run::RunType;
use tidemark_shared::tenant::Tenant;
use tidemark_source::{Shape, Source, SourceTx};

use crate::planning::error::PlanError;

/// The rows that a plan would mark deleted: `gone` of the tenant's `live` rows.
pub(crate) struct Deletions<'a> {
    pub tenant: &'a Tenant,
    pub run_type: RunType,
    /// The tenant's inboxes.
    pub inboxes: &'a [i32],
    pub gone: &'a [i64],
    pub live: i64,
}

/// The part of a plan's deletions that waits for an operator.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub inboxes: Vec<WaitingInbox>,
    /// Their gone conversations, ascending.
    pub conversations: Vec<i64>,
}

impl Waiting {
    pub(crate) fn has(&self, conversation: i64) -> bool {
        self.conversations.binary_search(&conversation).is_ok()
    }
}

/// Refuses a plan that would mark suspiciously many rows deleted. Rows of an inbox that an operator unmapped do not count.
/// Rows of inboxes that are gone from the source are counted apart: they wait, and the plan goes on without them.
pub(crate) async fn refuse_mass_delete(
    target: &mut PgTransaction<'_>,
    source: &Source,
    shape: &Shape,
    source_tx: &mut SourceTx,
    deletions: &Deletions<'_>,
) -> Result<Waiting, PlanError> {
    let Deletions { tenant, inboxes, .. } = *deletions;
    let all_gone = count(deletions.gone.len());
    if !is_mass_delete(all_gone, deletions.live) {
        return Ok(Waiting::default());
    }
    let by_inbox = ledger::target::count_by_inbox(target, tenant.id, deletions.gone, inboxes).await?;
    let gone: i64 = by_inbox.iter().map(|inbox| inbox.rows).sum();
    let live = deletions.live - (all_gone - gone);
    if !is_mass_delete(gone, live) {
        return Ok(Waiting::default());
    }
    let ids: Vec<i32> = by_inbox.iter().map(|inbox| inbox.inbox_id).collect();
    let mut absent = source.absent_inboxes(source_tx.connection(), shape, &ids).await?;
    let mut live_of_vanished = ledger::target::count_live_in_inboxes(target, tenant.id, &absent).await?;
    // a view that shows none of the tenant's conversations says nothing about its inboxes
    if shape.view().is_some() && live_of_vanished == live {
        absent.clear();
        live_of_vanished = 0;
    }
    let (vanished, others): (Vec<WaitingInbox>, Vec<WaitingInbox>) = by_inbox
        .into_iter()
        .partition(|inbox| absent.contains(&inbox.inbox_id));
    let (gone, live) = (
        others.iter().map(|inbox| inbox.rows).sum(),
        live - live_of_vanished,
    );
    if is_mass_delete(gone, live) {
        return Err(PlanError::MassDelete {
            tenant: tenant.id,
            run_type: deletions.run_type,
            gone,
            live,
            also: decision_about(tenant.id, &vanished, false),
        });
    }
    let conversations = ledger::target::list_of_inboxes(target, tenant.id, deletions.gone, &absent).await?;
    Ok(Waiting {
        inboxes: vanished,
        conversations,
    })
}

fn count(rows: usize) -> i64 {
    i64::try_from(rows).expect("rows of a tenant fit in 63 bits")
}
