//! Reports which change signals name one conversation now, as the next plan would. Reads only the rows of that conversation.

use sqlx::AssertSqlSafe;
use tidemark_ledger as ledger;
use tidemark_ledger::target::StoredRow;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::tenant::Tenant;
use tidemark_source::{Shape, Source, SourceTx};

use crate::planning::error::PlanError;
use crate::planning::member::Member;
use crate::planning::planner::Planner;
use crate::planning::signals::inboxes::Inboxes;
use crate::planning::signals::{ALL_IDS, RelatedSignal, Signals};

/// $1 since, $2 the conversation, $3 the other contact who wrote in it, or NULL
const CONTACTS: &str = "SELECT EXISTS (SELECT FROM contacts k WHERE k.updated_at >= $1 \
     AND k.id IN (SELECT c.contact_id FROM conversations c WHERE c.id = $2 UNION ALL SELECT $3))";

/// The conversation to report on.
#[derive(Debug, Clone, Copy)]
pub struct SignalQuery<'a> {
    pub tenant: &'a Tenant,
    pub conversation: i64,
    /// Its row in the target.
    pub stored: Option<&'a StoredRow>,
    /// It has an open reject.
    pub rejected: bool,
}

/// What a plan would find out about a conversation.
#[derive(Debug, Default)]
pub struct SignalReport {
    /// Names of the signals, as in the record of a run.
    pub signals: Vec<&'static str>,
    /// The tenant has no watermark: its next sync reads everything.
    pub never_synced: bool,
    /// Only digests name it, and the next plan does not compare digests.
    pub waits_for_digests: bool,
}

impl Planner {
    /// The signals that name a conversation in this snapshot of its tenant's source.
    pub async fn report_signals(
        &self,
        source: &Source,
        shape: &Shape,
        tx: &mut SourceTx,
        query: SignalQuery<'_>,
    ) -> Result<SignalReport, PlanError> {
        let SignalQuery {
            tenant,
            conversation,
            stored,
            rejected,
        } = query;
        let mut to_plan = ledger::tenant::list_to_plan(&self.db, &[tenant.id]).await?;
        let to_plan = to_plan.pop().ok_or(PlanError::Removed(tenant.id))?;
        if to_plan.inboxes.is_empty() {
            return Ok(SignalReport::default());
        }
        let digest_interval = self.settings.digest_interval;
        let member = Member::new(
            to_plan,
            RunType::Incremental,
            &RunRequest::default(),
            digest_interval,
        )?;
        let Some(since) = member.since else {
            return Ok(SignalReport {
                never_synced: true,
                ..SignalReport::default()
            });
        };
        let inboxes = Inboxes::of([&member]);
        let mut signals = Signals::new(source, shape, tx);
        let mut report = SignalReport::default();
        let mut add = |named: bool, signal| {
            if named {
                report.signals.push(signal);
            }
        };

        let read = signals
            .conversations_within(&inboxes, ALL_IDS, conversation..=conversation)
            .await;
        let (bucket, unreadable) = match read {
            Ok(mut buckets) => (buckets.pop(), false),
            Err(error) if error.is_data() => {
                signals.recover().await?;
                (None, true)
            }
            Err(error) => return Err(error.into()),
        };
        let changed = bucket
            .as_ref()
            .is_some_and(|bucket| bucket.changed.contains(&conversation));
        add(changed, "conversations");
        if shape.view().is_none() && !unreadable {
            let one = Some(conversation);
            let window = self.settings.message_edit_window;
            add(
                !signals.messages(&inboxes, since, window, one).await?.is_empty(),
                "messages",
            );
            add(!signals.csat(&inboxes, since, one).await?.is_empty(), "csat");
            let related = signals.related(&inboxes, since, one).await?;
            for signal in RelatedSignal::ALL {
                add(related.iter().any(|(of, ..)| *of == signal), signal.as_str());
            }
            let client = stored.and_then(|row| row.other_client_id);
            let contacts = sqlx::query_scalar(AssertSqlSafe(shape.on_tables(CONTACTS).as_ref()))
                .bind(since)
                .bind(conversation)
                .bind(client)
                .fetch_one(signals.tx.connection())
                .await
                .map_err(source.query_error("check whether its contact changed"))?;
            add(contacts && (bucket.is_some() || client.is_some()), "contacts");
        }
        // the comparison leaves out inboxes that wait for a backfill, on both sides
        let counted = bucket.filter(|bucket| bucket.count > 0);
        let live = stored.filter(|row| {
            row.source_deleted_at.is_none()
                && row
                    .inbox_id
                    .is_none_or(|inbox| !member.unfetched.contains(&inbox))
        });
        add(!unreadable && counted.is_some() != live.is_some(), "membership");
        let digests = counted.zip(live);
        let differs =
            digests.is_some_and(|(source, target)| source.digest_sum() != i128::from(target.source_digest));
        add(differs, "digest");
        add(unreadable, "unreadable");
        add(rejected, "rejects");
        let by_digests = |signal: &&str| ["membership", "digest"].contains(signal);
        let is_named = !report.signals.is_empty();
        report.waits_for_digests =
            is_named && !member.compares_digests && report.signals.iter().all(by_digests);
        Ok(report)
    }
}
