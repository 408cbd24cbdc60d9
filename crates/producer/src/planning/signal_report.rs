//! Which change signals name one conversation now: what the next plan would say of it, at the cost of its own rows.

use sqlx::AssertSqlSafe;
use tidemark_ledger as ledger;
use tidemark_ledger::target::StoredRow;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::tenant::Tenant;
use tidemark_source::view::ViewShape;
use tidemark_source::{Source, SourceTx};

use crate::planning::planner::{PlanError, Planner};
use crate::planning::signals::{ALL_IDS, Inboxes, Signals};
use crate::planning::source_scan::Member;

/// $1 since, $2 the conversation, $3 the contact that wrote in it, if it is another's
const CONTACTS: &str = "SELECT EXISTS (SELECT FROM contacts k WHERE k.updated_at >= $1 \
     AND k.id IN (SELECT c.contact_id FROM conversations c WHERE c.id = $2 UNION ALL SELECT $3))";

/// A conversation to look for.
#[derive(Debug, Clone, Copy)]
pub struct SignalQuery<'a> {
    pub tenant: &'a Tenant,
    pub conversation: i64,
    /// What the target has of it.
    pub stored: Option<&'a StoredRow>,
    /// An open reject stands for it.
    pub rejected: bool,
}

/// What a plan would say of a conversation.
#[derive(Debug, Default)]
pub struct SignalReport {
    /// Names of the signals, as a run has them.
    pub signals: Vec<&'static str>,
    /// The tenant has no watermark: its next sync takes everything.
    pub never_synced: bool,
    /// Digests alone tell, and the next plan does not compare any.
    pub waits_for_digests: bool,
}

impl Planner {
    /// The signals that name a conversation in this snapshot of its tenant's source.
    ///
    /// # Errors
    /// When ledger or source do not answer.
    pub async fn sight(
        &self,
        source: &Source,
        shape: Option<&ViewShape>,
        tx: &mut SourceTx,
        sought: SignalQuery<'_>,
    ) -> Result<SignalReport, PlanError> {
        let SignalQuery {
            tenant,
            conversation,
            stored,
            rejected,
        } = sought;
        let mut ready = ledger::tenant::list_to_plan(&self.db, &[tenant.id]).await?;
        let ready = ready.pop().ok_or(PlanError::Removed(tenant.id))?;
        if ready.inboxes.is_empty() {
            return Ok(SignalReport::default());
        }
        let digest_interval = self.settings.digest_interval;
        let member = Member::new(
            ready,
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
        let mut signals = Signals::begin(source, shape, tx).await?;
        let mut sight = SignalReport::default();
        let mut add = |named: bool, signal| {
            if named {
                sight.signals.push(signal);
            }
        };

        let read = signals
            .conversations_within(&inboxes, ALL_IDS, Some(conversation..=conversation))
            .await;
        let (bucket, unreadable) = match read {
            Ok(mut buckets) => (buckets.pop(), false),
            Err(error) if error.is_data() => {
                signals.roll_back_to_start().await?;
                (None, true)
            }
            Err(error) => return Err(error.into()),
        };
        let changed = bucket
            .as_ref()
            .is_some_and(|bucket| bucket.changed.contains(&conversation));
        add(changed, "conversations");
        if shape.is_none() && !unreadable {
            let one = Some(conversation);
            let window = self.settings.message_edit_window;
            add(
                !signals.messages(&inboxes, since, window, one).await?.is_empty(),
                "messages",
            );
            add(!signals.csat(&inboxes, since, one).await?.is_empty(), "csat");
            let client = stored.and_then(|row| row.other_client_id);
            let contacts = sqlx::query_scalar(AssertSqlSafe(CONTACTS))
                .bind(since)
                .bind(conversation)
                .bind(client)
                .fetch_one(signals.tx.connection())
                .await
                .map_err(source.query_error("look whether its contact changed"))?;
            add(contacts && (bucket.is_some() || client.is_some()), "contacts");
        }
        // inboxes that wait for a backfill are left out of the comparison, on both sides
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
            digests.is_some_and(|(there, here)| there.digest_sum() != i128::from(here.source_digest));
        add(differs, "digest");
        add(unreadable, "unreadable");
        add(rejected, "rejects");
        let by_digests = |signal: &&str| ["membership", "digest"].contains(signal);
        let told = !sight.signals.is_empty();
        sight.waits_for_digests = told && !member.compares && sight.signals.iter().all(by_digests);
        Ok(sight)
    }
}
