//! Reads what the ledger, the target and the source have of one conversation.

use std::sync::Arc;

use secrecy::SecretString;
use tidemark_ledger::Attempt;
use tidemark_ledger::history::CoveringChunk;
use tidemark_ledger::inbox::InboxMapping;
use tidemark_ledger::reject::{RejectFilter, RejectedRow};
use tidemark_ledger::target::StoredRow;
use tidemark_ledger::watermark::Watermark;
use tidemark_postgres::DbPool;
use tidemark_producer::planning::planner::Planner;
use tidemark_producer::planning::signal_report::{SignalQuery, SignalReport};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunStatus, RunType};
use tidemark_shared::tenant::Tenant;
use tidemark_source::Source;
use tidemark_worker::inspect::{Inspection, inspect_conversation};

use super::explanation::{InSource, Owner};
use crate::error::OperationResult;

/// The conversation at the source, beside its row in the target.
#[derive(Debug)]
pub(super) struct SourceFindings {
    pub inbox_id: Option<i32>,
    pub mapping: Option<InboxMapping>,
    pub place: InSource,
    pub writer_open: bool,
    pub signals: SignalReport,
    pub columns: Inspection,
}

/// The conversation in the ledger and in the target.
#[derive(Debug)]
pub(super) struct LedgerFindings {
    pub stored: Option<StoredRow>,
    pub reject: Option<RejectedRow>,
    pub chunks: Vec<CoveringChunk>,
    pub planning: Vec<(RunId, RunType, RunStatus)>,
    pub watermark: Watermark,
}

impl LedgerFindings {
    pub(super) async fn load(
        db: &DbPool,
        tenant: &Tenant,
        conversation: i64,
        limit: i64,
    ) -> OperationResult<Self> {
        let mut target = tidemark_ledger::target::begin(db, tenant.id).await?;
        let stored = tidemark_ledger::target::find(&mut target, tenant.id, conversation).await?;
        target.rollback().await.attempt("end the transaction")?;
        let filter = RejectFilter {
            tenant: Some(tenant.id),
            also_resolved: true,
            conversation: Some(conversation),
            ..RejectFilter::default()
        };
        Ok(Self {
            stored,
            reject: tidemark_ledger::reject::list(db, &filter, None, 1).await?.pop(),
            chunks: tidemark_ledger::history::list_covering(db, tenant.id, conversation, limit).await?,
            planning: tidemark_ledger::history::list_planning(db, tenant.id).await?,
            watermark: tidemark_ledger::watermark::load(db, tenant.id).await?,
        })
    }
}

impl SourceFindings {
    /// Reads the conversation in one snapshot of the source.
    pub(super) async fn read(
        planner: &Planner,
        privacy_key: Option<&SecretString>,
        tenant: &Tenant,
        conversation: i64,
        ledger: &LedgerFindings,
    ) -> OperationResult<Self> {
        let db = &planner.db;
        let source: Arc<Source> = Arc::clone(planner.sources.get(&tenant.source)?);
        let id = conversation;
        let mut tx = source
            .begin(&format!("why tenant {} conversation {id}", tenant.id))
            .await?;
        let shape = source.check_catalog(tx.connection()).await?;
        let rejected = ledger
            .reject
            .as_ref()
            .is_some_and(|reject| reject.resolved_at.is_none());
        let sought = SignalQuery {
            tenant,
            conversation: id,
            stored: ledger.stored.as_ref(),
            rejected,
        };
        let signals = planner.report_signals(&source, &shape, &mut tx, sought).await?;
        let columns = inspect_conversation(db, &source, &mut tx, tenant, privacy_key, id).await?;
        // the inbox of an unreadable row may itself be unreadable, so the target's is used
        let exists = match columns.reject {
            None => source.inbox_of(tx.connection(), &shape, id).await?,
            Some(_) => Some(ledger.stored.as_ref().and_then(|row| row.inbox_id)),
        };
        let snapshot = *tx.snapshot();
        let writer_open = source.has_writer(tx.connection(), &snapshot, id).await;
        tx.finish().await;

        let inbox_id = exists.flatten();
        let mapping = match inbox_id {
            Some(inbox) => tidemark_ledger::inbox::find(db, &tenant.source, inbox).await?,
            None => None,
        };
        let is_tenants = columns.in_source || columns.withheld || columns.reject.is_some();
        let place = match exists {
            None => InSource::Absent,
            Some(_) if is_tenants => InSource::Here {
                inbox: inbox_id.unwrap_or_default(),
                fetched: mapping
                    .as_ref()
                    .is_none_or(|mapping| mapping.backfilled_at.is_some()),
            },
            Some(inbox) => InSource::Elsewhere {
                inbox,
                owner: owner(tenant.id, mapping.as_ref()),
            },
        };
        Ok(Self {
            inbox_id,
            mapping,
            place,
            writer_open,
            signals,
            columns,
        })
    }
}

fn owner(tenant: TenantId, mapping: Option<&InboxMapping>) -> Owner {
    match mapping {
        Some(mapping) if mapping.tenant_id == tenant => Owner::Unmapped,
        Some(mapping) if mapping.is_active => Owner::Tenant(mapping.tenant_id),
        _ => Owner::Nobody,
    }
}
