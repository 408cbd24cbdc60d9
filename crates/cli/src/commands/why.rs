//! `tidemark why`: one conversation on both sides, what runs had to do with it, and a sentence that says why.

mod print;

use std::sync::Arc;

use serde::Serialize;
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::history::Touch;
use tidemark_ledger::inbox::InboxMapping;
use tidemark_ledger::reject::{RejectFilter, RejectedRow};
use tidemark_ledger::target::StoredRow;
use tidemark_ledger::watermark::Watermark;
use tidemark_operations::status::Overview;
use tidemark_operations::why::{Case, Covering, Facts, InSource, InTarget, Owner, Refusal, explain};
use tidemark_postgres::DbPool;
use tidemark_producer::planning::signal_report::{SignalQuery, SignalReport};
use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunStatus, RunType};
use tidemark_shared::tenant::Tenant;
use tidemark_source::Source;
use tidemark_worker::inspect::{Beside, ColumnBeside, beside};

use super::plan;
use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tenant's id
    #[arg(long, alias = "tenant-id", value_name = "N")]
    tenant: TenantId,
    /// The conversation's id in its Chatwoot database (not the number that people see)
    #[arg(value_name = "CONVERSATION_ID", value_parser = clap::value_parser!(i64).range(1..))]
    conversation: i64,
    /// Show every column, also those that are equal; --json always does
    #[arg(long)]
    all_columns: bool,
    /// Newest chunks of it to show
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=1000))]
    limit: i64,
}

/// What the source says of the conversation.
#[derive(Debug)]
struct Seen {
    inbox_id: Option<i32>,
    mapping: Option<InboxMapping>,
    source: InSource,
    writer_open: bool,
    sight: SignalReport,
    beside: Beside,
}

/// What the ledger says of it.
#[derive(Debug)]
struct Known {
    stored: Option<StoredRow>,
    reject: Option<RejectedRow>,
    touches: Vec<Touch>,
    planning: Vec<(RunId, RunType, RunStatus)>,
    watermark: Watermark,
}

/// The answer; the field names are a contract with scripts.
#[derive(Debug, Serialize)]
struct Answer {
    tenant_id: TenantId,
    conversation_id: i64,
    case: Case,
    why: String,
    source: SourceView,
    /// What the target keeps of its row beside the columns.
    target: Option<StoredRow>,
    differing: Vec<String>,
    signals: Vec<&'static str>,
    reject: Option<RejectedRow>,
    runs: Vec<TouchView>,
    watermark: WatermarkView,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<String>,
    columns: Vec<ColumnBeside>,
}

#[derive(Debug, Serialize)]
struct SourceView {
    name: String,
    /// Somewhere at the source, also in an inbox of somebody else.
    exists: bool,
    /// In one of the tenant's inboxes.
    is_tenants: bool,
    inbox_id: Option<i32>,
    /// Whose the inbox is.
    inbox: Option<InboxMapping>,
    writer_open: bool,
}

#[derive(Debug, Serialize)]
struct TouchView {
    #[serde(flatten)]
    touch: Touch,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_url: Option<String>,
    /// The target's row is as this run wrote it.
    wrote_row: bool,
}

#[derive(Debug, Serialize)]
struct WatermarkView {
    watermark: Option<chrono::DateTime<chrono::Utc>>,
    next_due_at: chrono::DateTime<chrono::Utc>,
    consecutive_failures: i32,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        let tenant = app.tenant(&db, self.tenant).await?;
        let known = self.known(&db, &tenant).await?;
        let seen = self.seen(app, &db, &tenant, &known).await?;
        let overview = Overview::load(&db, &app.settings).await?;
        let answer = self.answer(app, &tenant, known, seen, &overview);
        if app.json {
            output::json(&answer)?;
        } else {
            print::answer(&answer, self.all_columns)?;
        }
        Ok(Exit::Done)
    }

    async fn known(&self, db: &DbPool, tenant: &Tenant) -> anyhow::Result<Known> {
        let mut target = ledger::target::begin(db, tenant.id).await?;
        let stored = ledger::target::find(&mut target, tenant.id, self.conversation).await?;
        target.rollback().await.attempt("end the transaction")?;
        let filter = RejectFilter {
            tenant: Some(tenant.id),
            also_resolved: true,
            conversation: Some(self.conversation),
            ..RejectFilter::default()
        };
        Ok(Known {
            stored,
            reject: ledger::reject::list(db, &filter, 1).await?.pop(),
            touches: ledger::history::list_covering(db, tenant.id, self.conversation, self.limit).await?,
            planning: ledger::history::list_planning(db, tenant.id).await?,
            watermark: ledger::watermark::load(db, tenant.id).await?,
        })
    }

    /// Reads the conversation in one snapshot of the source.
    async fn seen(&self, app: &App, db: &DbPool, tenant: &Tenant, known: &Known) -> anyhow::Result<Seen> {
        let planner = plan::planner(app, db)?;
        let source: Arc<Source> = Arc::clone(planner.sources.get(&tenant.source)?);
        let id = self.conversation;
        let mut tx = source
            .begin(&format!("why tenant {} conversation {id}", tenant.id))
            .await?;
        let shape = source.check_catalog(tx.connection()).await?;
        let rejected = known
            .reject
            .as_ref()
            .is_some_and(|reject| reject.resolved_at.is_none());
        let sought = SignalQuery {
            tenant,
            conversation: id,
            stored: known.stored.as_ref(),
            rejected,
        };
        let sight = planner.sight(&source, shape.as_ref(), &mut tx, sought).await?;
        let privacy_key = app.settings.privacy_key.as_ref();
        let beside = beside(db, &source, &mut tx, tenant, privacy_key, id).await?;
        // of a row that cannot be read its inbox may be what cannot
        let exists = match beside.reject {
            None => source.inbox_of(tx.connection(), shape.as_ref(), id).await?,
            Some(_) => Some(known.stored.as_ref().and_then(|row| row.inbox_id)),
        };
        let snapshot = *tx.snapshot();
        let writer_open = source.has_writer(tx.connection(), &snapshot, id).await;
        tx.finish().await;

        let inbox_id = exists.flatten();
        let mapping = match inbox_id {
            Some(inbox) => ledger::inbox::find(db, &tenant.source, inbox).await?,
            None => None,
        };
        let is_tenants = beside.in_source || beside.withheld || beside.reject.is_some();
        let source = match exists {
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
        Ok(Seen {
            inbox_id,
            mapping,
            source,
            writer_open,
            sight,
            beside,
        })
    }

    fn answer(&self, app: &App, tenant: &Tenant, known: Known, seen: Seen, overview: &Overview) -> Answer {
        let facts = self.facts(tenant, &known, &seen, overview);
        let (case, why) = match seen.beside.withheld {
            true => (
                Case::Forgotten,
                "its contact is forgotten: it is kept out of the target, see \"A person wants to be forgotten\" in docs/runbook.md".to_owned(),
            ),
            false => explain(&facts),
        };
        let link = |touch: &Touch| app.settings.trace_link(touch.trace_id.as_ref()?);
        let wrote = known.stored.as_ref().map(|row| row.etl_run_id);
        Answer {
            tenant_id: tenant.id,
            conversation_id: self.conversation,
            case,
            why,
            source: SourceView {
                name: tenant.source.clone(),
                exists: seen.source != InSource::Absent,
                is_tenants: matches!(seen.source, InSource::Here { .. }),
                inbox_id: seen.inbox_id,
                inbox: seen.mapping,
                writer_open: seen.writer_open,
            },
            target: known.stored,
            differing: facts.differing,
            signals: seen.sight.signals,
            reject: known.reject,
            runs: known
                .touches
                .into_iter()
                .map(|touch| TouchView {
                    trace_url: link(&touch),
                    wrote_row: wrote == Some(touch.run_id),
                    touch,
                })
                .collect(),
            watermark: WatermarkView {
                watermark: known.watermark.watermark,
                next_due_at: known.watermark.next_due_at,
                consecutive_failures: known.watermark.consecutive_failures,
            },
            held_by: facts.held_by,
            columns: seen.beside.columns,
        }
    }

    fn facts(&self, tenant: &Tenant, known: &Known, seen: &Seen, overview: &Overview) -> Facts {
        let target = match &known.stored {
            None => InTarget::Absent,
            Some(row) => match row.source_deleted_at {
                Some(at) => InTarget::Deleted { at },
                None => InTarget::Live,
            },
        };
        let both = seen.beside.in_source && target == InTarget::Live;
        let columns = seen.beside.columns.iter().filter(|column| both && column.differs);
        let stopped = match &tenant.pause_reason {
            _ if tenant.may_run() => None,
            Some(reason) => Some(format!("paused ({reason})")),
            None => Some("not active".to_owned()),
        };
        let held_by = overview.held_by(tenant.id).filter(|_| stopped.is_none());
        Facts {
            tenant: tenant.id,
            conversation: self.conversation,
            source: seen.source.clone(),
            written_by: known.stored.as_ref().map(|row| row.etl_run_id),
            differing: columns.map(|column| column.column.to_owned()).collect(),
            signals: seen.sight.signals.iter().map(ToString::to_string).collect(),
            waits_for_digests: seen.sight.waits_for_digests,
            refusal: refusal(known, &seen.beside, &target),
            target,
            newest_chunk: covering(&known.touches),
            planning: planning(&known.planning, &seen.source),
            writer_open: seen.writer_open,
            never_synced: seen.sight.never_synced,
            stopped,
            held_by: held_by.map(str::to_owned),
            next_due_in: known.watermark.next_due_at - overview.at,
        }
    }
}

fn owner(tenant: TenantId, mapping: Option<&InboxMapping>) -> Owner {
    match mapping {
        Some(mapping) if mapping.tenant_id == tenant => Owner::Unmapped,
        Some(mapping) if mapping.is_active => Owner::Tenant(mapping.tenant_id),
        _ => Owner::Nobody,
    }
}

/// Why it cannot be taken: as it was seen just now; what the target refused is known only from the run that tried.
fn refusal(known: &Known, beside: &Beside, target: &InTarget) -> Option<Refusal> {
    let open = known
        .reject
        .as_ref()
        .filter(|reject| reject.resolved_at.is_none());
    let chunk = open.map(|reject| tidemark_shared::ids::ChunkId {
        run_id: reject.run_id,
        seq: reject.chunk_seq,
    });
    if let Some(reject) = &beside.reject {
        return Some(Refusal {
            side: reject.side.as_str().to_owned(),
            error: reject.error.clone(),
            chunk,
        });
    }
    let is_equal = *target == InTarget::Live && !beside.columns.iter().any(|column| column.differs);
    let refused = open.filter(|reject| reject.side == "target" && beside.in_source && !is_equal)?;
    Some(Refusal {
        side: refused.side.clone(),
        error: refused.error.clone(),
        chunk,
    })
}

/// A chunk that has not ended, else the newest.
fn covering(touches: &[Touch]) -> Option<Covering> {
    let is_open = |touch: &&Touch| {
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

/// Of the runs without chunks the one that may take it: a backfill for what waits for one, else what follows the watermark.
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
