//! Explains why one conversation looks in the target as it does: both sides, the runs that covered it, and one sentence.

pub mod explanation;
mod findings;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tidemark_ledger::history::CoveringChunk;
use tidemark_ledger::inbox::InboxMapping;
use tidemark_ledger::reject::RejectedRow;
use tidemark_ledger::target::StoredRow;
use tidemark_postgres::DbPool;
use tidemark_runtime::config::Settings;
use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::ids::{ChunkId, RunId, TenantId};
use tidemark_shared::run::{RunStatus, RunType};
use tidemark_shared::tenant::Tenant;
use tidemark_source::Sources;
use tidemark_worker::inspect::{InspectedColumn, Inspection};

use self::explanation::{Case, Covering, Facts, InSource, InTarget, Refusal, explain};
use self::findings::{LedgerFindings, SourceFindings};
use crate::error::OperationResult;
use crate::plan_preview::planner;
use crate::status::{Blocker, Overview};

/// The answer; the field names are a contract with scripts.
#[derive(Debug, Serialize)]
pub struct WhyAnswer {
    pub tenant_id: TenantId,
    pub conversation_id: i64,
    pub case: Case,
    pub why: String,
    pub source: SourceView,
    /// The bookkeeping of the target's row.
    pub target: Option<StoredRow>,
    pub differing: Vec<String>,
    pub signals: Vec<&'static str>,
    pub reject: Option<RejectedRow>,
    pub runs: Vec<ChunkView>,
    pub watermark: WatermarkView,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_by: Option<String>,
    pub columns: Vec<InspectedColumn>,
    /// What holds the tenant, with its parameters.
    #[serde(skip)]
    pub blocker: Option<Blocker>,
    /// What the sentence was written from, for front ends that write it themselves.
    #[serde(skip)]
    pub facts: Facts,
}

#[derive(Debug, Serialize)]
pub struct SourceView {
    pub name: String,
    /// Anywhere at the source, also in an inbox of another tenant.
    pub exists: bool,
    /// In one of the tenant's inboxes.
    pub is_tenants: bool,
    pub inbox_id: Option<i32>,
    /// The tenant of the inbox.
    pub inbox: Option<InboxMapping>,
    pub writer_open: bool,
}

#[derive(Debug, Serialize)]
pub struct ChunkView {
    #[serde(flatten)]
    pub chunk: CoveringChunk,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_url: Option<String>,
    /// This run wrote the target's row last.
    pub wrote_row: bool,
}

#[derive(Debug, Serialize)]
pub struct WatermarkView {
    pub watermark: Option<DateTime<Utc>>,
    pub next_due_at: DateTime<Utc>,
    pub consecutive_failures: i32,
}

/// `limit`: how many of the newest chunks that cover the conversation are listed.
pub async fn explain_conversation(
    db: &DbPool,
    sources: Arc<Sources>,
    settings: &Settings,
    tenant: &Tenant,
    conversation: i64,
    limit: i64,
) -> OperationResult<WhyAnswer> {
    let ledger = LedgerFindings::load(db, tenant, conversation, limit).await?;
    let planner = planner(db, sources, settings);
    let key = settings.privacy_key.as_ref();
    let source = SourceFindings::read(&planner, key, tenant, conversation, &ledger).await?;
    let overview = Overview::load(db, settings).await?;
    Ok(answer(settings, tenant, conversation, ledger, source, &overview))
}

fn answer(
    settings: &Settings,
    tenant: &Tenant,
    conversation: i64,
    ledger: LedgerFindings,
    source: SourceFindings,
    overview: &Overview,
) -> WhyAnswer {
    let facts = facts(tenant, conversation, &ledger, &source, overview);
    let (case, why) = match source.columns.withheld {
        true => (
            Case::Forgotten,
            "its contact is forgotten: it is kept out of the target, see \"A person wants to be forgotten\" in docs/runbook.md".to_owned(),
        ),
        false => explain(&facts),
    };
    let link = |touch: &CoveringChunk| settings.trace_link(touch.trace_id.as_ref()?);
    let wrote = ledger.stored.as_ref().map(|row| row.etl_run_id);
    WhyAnswer {
        tenant_id: tenant.id,
        conversation_id: conversation,
        case,
        why,
        source: SourceView {
            name: tenant.source.clone(),
            exists: source.place != InSource::Absent,
            is_tenants: matches!(source.place, InSource::Here { .. }),
            inbox_id: source.inbox_id,
            inbox: source.mapping,
            writer_open: source.writer_open,
        },
        target: ledger.stored,
        differing: facts.differing.clone(),
        signals: source.signals.signals,
        reject: ledger.reject,
        runs: ledger
            .chunks
            .into_iter()
            .map(|chunk| ChunkView {
                trace_url: link(&chunk),
                wrote_row: wrote == Some(chunk.run_id),
                chunk,
            })
            .collect(),
        watermark: WatermarkView {
            watermark: ledger.watermark.watermark,
            next_due_at: ledger.watermark.next_due_at,
            consecutive_failures: ledger.watermark.consecutive_failures,
        },
        held_by: facts.held_by.clone(),
        blocker: overview
            .tenants
            .iter()
            .find(|other| other.tenant_id == tenant.id)
            .and_then(|other| other.blocker.clone()),
        facts,
        columns: source.columns.columns,
    }
}

fn facts(
    tenant: &Tenant,
    conversation: i64,
    ledger: &LedgerFindings,
    source: &SourceFindings,
    overview: &Overview,
) -> Facts {
    let target = match &ledger.stored {
        None => InTarget::Absent,
        Some(row) => match row.source_deleted_at {
            Some(at) => InTarget::Deleted { at },
            None => InTarget::Live,
        },
    };
    let both = source.columns.in_source && target == InTarget::Live;
    let columns = source
        .columns
        .columns
        .iter()
        .filter(|column| both && column.differs);
    let stopped = match &tenant.pause_reason {
        _ if tenant.may_run() => None,
        Some(reason) => Some(format!("paused ({reason})")),
        None => Some("not active".to_owned()),
    };
    let held_by = overview.blocker_of(tenant.id).filter(|_| stopped.is_none());
    Facts {
        tenant: tenant.id,
        conversation,
        source: source.place.clone(),
        written_by: ledger.stored.as_ref().map(|row| row.etl_run_id),
        differing: columns.map(|column| column.column.to_owned()).collect(),
        signals: source.signals.signals.iter().map(ToString::to_string).collect(),
        waits_for_digests: source.signals.waits_for_digests,
        refusal: refusal(ledger, &source.columns, &target),
        target,
        newest_chunk: covering(&ledger.chunks),
        planning: planning(&ledger.planning, &source.place),
        writer_open: source.writer_open,
        never_synced: source.signals.never_synced,
        stopped,
        held_by: held_by.map(str::to_owned),
        next_due_in: ledger.watermark.next_due_at - overview.at,
    }
}

/// Why the conversation is rejected. A refusal by the target is known only from the run that recorded it; others are found
/// now.
fn refusal(ledger: &LedgerFindings, columns: &Inspection, target: &InTarget) -> Option<Refusal> {
    let open = ledger
        .reject
        .as_ref()
        .filter(|reject| reject.resolved_at.is_none());
    let chunk = open.map(|reject| ChunkId {
        run_id: reject.run_id,
        seq: reject.chunk_seq,
    });
    if let Some(reject) = &columns.reject {
        return Some(Refusal {
            side: reject.side.as_str().to_owned(),
            error: reject.error.clone(),
            chunk,
        });
    }
    let is_equal = *target == InTarget::Live && !columns.columns.iter().any(|column| column.differs);
    let refused = open.filter(|reject| reject.side == "target" && columns.in_source && !is_equal)?;
    Some(Refusal {
        side: refused.side.clone(),
        error: refused.error.clone(),
        chunk,
    })
}

/// The newest open chunk, else the newest chunk.
fn covering(touches: &[CoveringChunk]) -> Option<Covering> {
    let is_open = |touch: &&CoveringChunk| {
        matches!(
            touch.status,
            ChunkStatus::Pending | ChunkStatus::Queued | ChunkStatus::Running
        )
    };
    let touch = touches.iter().find(is_open).or_else(|| touches.first())?;
    Some(Covering {
        id: touch.id(),
        status: touch.status,
        run_type: touch.run_type,
        error: touch.error.clone(),
    })
}

/// The run without chunks that may take the conversation: a backfill if its inbox waits for one, else a run that moves the
/// watermark.
fn planning(
    planning: &[(RunId, RunType, RunStatus)],
    source: &InSource,
) -> Option<(RunId, RunType, RunStatus)> {
    let waits = matches!(source, InSource::Here { fetched: false, .. });
    let backfill = planning
        .iter()
        .find(|(_, run_type, _)| waits && *run_type == RunType::Backfill);
    let following = planning
        .iter()
        .find(|(_, run_type, _)| run_type.moves_watermark());
    backfill.or(following).copied()
}
