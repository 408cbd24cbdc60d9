//! Reads conversations from a published view.
//!
//! Such a view aggregates all messages of the installation, unless a query selects one conversation. So the keys are
//! listed first, and each key is read by a sub-select of its own. The LIMIT of the sub-select stops the planner from
//! turning it into a join over everything.

mod messages;

use std::time::Instant;

use futures::TryStreamExt;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row};
use tidemark_ledger::privacy::Withheld;
use tidemark_postgres::source_time::SourceTime;
use tidemark_source::view::ViewShape;

use super::extractor::{ExtractError, Extractor, reject, send_when_full};
use crate::row::encode::{CopyEncoder, Digests};
use crate::row::source::{SourceConversation, SourceCsat, SourceDetails, WorkingHours};
use crate::transform::fold::Senders;
use crate::transform::{TenantContext, TransformError, transform};

/// The ids of the tenant's conversations in `lo..=hi`, ascending.
pub(crate) async fn keys_in_range(
    connection: &mut PgConnection,
    view: &ViewShape,
    inboxes: &[i32],
    lo: i64,
    hi: i64,
) -> Result<Vec<i64>, sqlx::Error> {
    // select no other column, so that the planner removes the view's joins
    let statement = format!(
        "SELECT DISTINCT v.conversation_id::bigint AS id FROM {} v \
         WHERE v.conversation_id BETWEEN $1 AND $2 AND v.inbox_id = ANY($3) ORDER BY id",
        view.relation()
    );
    sqlx::query_scalar(AssertSqlSafe(statement))
        .bind(lo)
        .bind(hi)
        .bind(inboxes)
        .fetch_all(connection)
        .await
}

/// The query that reads conversations by key, each once. `select` is the select list over the view's row `r`.
/// $1 ids, $2 the tenant's inboxes, $3 the seed of the digests
pub(crate) fn conversations(view: &ViewShape, select: &str) -> String {
    format!(
        "SELECT {select} FROM unnest($1::bigint[]) AS k (id) CROSS JOIN LATERAL ( \
             SELECT {}, {} AS digest FROM {} v WHERE v.conversation_id = k.id AND v.inbox_id = ANY($2) \
             ORDER BY {} LIMIT 1) r",
        view.select_list(),
        view.digest(),
        view.relation(),
        view.newest_first()
    )
}

/// Why a row of the view did not become a row of the target.
enum RowError {
    /// The query's result cannot be read, which stops the query.
    Read(sqlx::Error),
    /// The transform refuses this row.
    Refused(TransformError),
}

impl From<sqlx::Error> for RowError {
    fn from(error: sqlx::Error) -> Self {
        Self::Read(error)
    }
}

impl From<TransformError> for RowError {
    fn from(error: TransformError) -> Self {
        Self::Refused(error)
    }
}

impl Extractor<'_> {
    /// Reads, transforms and encodes the conversations of these keys, one by one.
    pub(super) async fn read_from_view(
        &mut self,
        view: &ViewShape,
        keys: &[i64],
    ) -> Result<(), ExtractError> {
        let source = self.source;
        let statement = conversations(view, &format!("r.*, {} AS related_digest", view.related_digest()));
        let mut rows = sqlx::query(AssertSqlSafe(statement))
            .bind(keys)
            .bind(self.inboxes)
            .bind(self.tenant.digest_seed())
            .fetch(self.tx.connection());
        while let Some(row) = rows
            .try_next()
            .await
            .map_err(source.query_error("read conversations"))?
        {
            let id = row
                .try_get("conversation_id")
                .map_err(source.query_error("read conversations"))?;
            let contact: Option<i64> = row
                .try_get("contact_id")
                .map_err(source.query_error("read conversations"))?;
            if let Some(contact_id) = self.tenant.privacy.forgotten(contact) {
                self.extracted.withheld.push(Withheld {
                    conversation_id: id,
                    contact_id,
                    inbox_id: row
                        .try_get("inbox_id")
                        .map_err(source.query_error("read conversations"))?,
                    source_digest: row
                        .try_get("digest")
                        .map_err(source.query_error("read conversations"))?,
                });
                continue;
            }
            let begun = Instant::now();
            let encoded = encode(&row, self.tenant, &mut self.extracted.senders, &mut self.buffer);
            self.transform_time += begun.elapsed();
            match encoded {
                Ok(()) => send_when_full(&self.sink, &mut self.buffer).await?,
                Err(RowError::Refused(error)) => self.rejects.push(reject(id, &error))?,
                Err(RowError::Read(error)) => {
                    return Err(source.query_error("read conversations")(error).into());
                }
            }
            // `found` has only rows that were sent or rejected: the others are read again after an error
            self.extracted.found.push(id);
        }
        Ok(())
    }
}

fn encode(
    row: &PgRow,
    tenant: &TenantContext,
    senders: &mut Senders,
    buffer: &mut CopyEncoder,
) -> Result<(), RowError> {
    let conversation = conversation(row)?;
    let mut fold = messages::fold(row.try_get("message_compiled")?, &tenant.privacy)?;
    senders.add(fold.take_senders());
    let shown_client: Option<i64> = row.try_get("client_sender_id")?;
    let shown_phone: Option<&str> = row.try_get("client_phone")?;
    // the messages decide who the client is; the view has only the phones of its own client and of the contact
    let phone = match fold.client_sender_id() {
        None => None,
        client if client == conversation.contact_id => conversation.contact_phone.as_deref(),
        client if client == shown_client => shown_phone,
        Some(_) => None,
    };
    let target = transform(tenant, &conversation, fold, phone)?;
    let digests = Digests {
        source: row.try_get("digest")?,
        related: row.try_get("related_digest")?,
        contact: None,
    };
    buffer.push(&target, digests);
    Ok(())
}

fn conversation(row: &PgRow) -> Result<SourceConversation, RowError> {
    let time = |column: &'static str| -> Result<SourceTime, RowError> {
        let time: Option<SourceTime> = row.try_get(column)?;
        Ok(time.ok_or(TransformError::Null { column })?)
    };
    Ok(SourceConversation {
        id: row.try_get("conversation_id")?,
        display_id: row.try_get("display_id")?,
        uuid: row.try_get("conversation_uuid")?,
        account_id: row.try_get("account_id")?,
        account_name: row.try_get("account_name")?,
        inbox_id: row.try_get("inbox_id")?,
        inbox_name: row.try_get("inbox_name")?,
        inbox_channel_type: row.try_get("inbox_channel_type")?,
        inbox_timezone: row.try_get("inbox_timezone")?,
        campaign_id: row.try_get("campaign_id")?,
        cached_label_list: row.try_get("cached_label_list")?,
        custom_attributes: row.try_get("conversation_custom_attributes")?,
        status: row.try_get("status")?,
        priority: row.try_get("priority")?,
        snoozed_until: row.try_get("snoozed_until")?,
        assignee_id: row.try_get("assignee_id")?,
        assignee_name: row.try_get("assignee_name")?,
        assignee_email: row.try_get("assignee_email")?,
        team_id: row.try_get("team_id")?,
        team_name: row.try_get("team_name")?,
        contact_id: row.try_get("contact_id")?,
        contact_name: row.try_get("contact_name")?,
        contact_email: row.try_get("contact_email")?,
        contact_phone: row.try_get("contact_phone")?,
        contact_identifier: row.try_get("contact_identifier")?,
        created_at: time("conversation_created_at")?,
        updated_at: time("conversation_updated_at")?,
        last_activity_at: row.try_get("last_activity_at")?,
        first_reply_created_at: row.try_get("first_reply_created_at")?,
        waiting_since: row.try_get("waiting_since")?,
        contact_last_seen_at: row.try_get("contact_last_seen_at")?,
        agent_last_seen_at: row.try_get("agent_last_seen_at")?,
        csat: csat(row)?,
        csat_responses_count: csat_responses_count(row)?,
        details: details(row)?,
    })
}

/// A view that does not count them shows one at most.
fn csat_responses_count(row: &PgRow) -> Result<i32, sqlx::Error> {
    let counted: Option<i32> = row.try_get("csat_responses_count")?;
    match counted {
        Some(count) => Ok(count),
        None => Ok(i32::from(csat(row)?.is_some())),
    }
}

fn details(row: &PgRow) -> Result<SourceDetails, sqlx::Error> {
    let mut participants: Vec<i32> = row
        .try_get::<Option<Vec<Option<i32>>>, _>("participants")?
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    participants.sort_unstable();
    participants.dedup();
    let minutes: Option<Vec<Option<i32>>> = row.try_get("inbox_working_hours")?;
    Ok(SourceDetails {
        identifier: row.try_get("conversation_identifier")?,
        additional_attributes: row.try_get("conversation_additional_attributes")?,
        sla_policy_id: row.try_get("sla_policy_id")?,
        sla_policy_name: row.try_get("sla_policy_name")?,
        sla_status: row.try_get("sla_status")?,
        campaign_title: row.try_get("campaign_title")?,
        assignee_display_name: row.try_get("assignee_display_name")?,
        contact_custom_attributes: row.try_get("contact_custom_attributes")?,
        contact_additional_attributes: row.try_get("contact_additional_attributes")?,
        contact_country_code: row.try_get("contact_country_code")?,
        contact_blocked: row.try_get("contact_blocked")?,
        contact_created_at: row.try_get("contact_created_at")?,
        assignee_agent_bot_id: row.try_get("assignee_agent_bot_id")?,
        assignee_agent_bot_name: row.try_get("assignee_agent_bot_name")?,
        attachments_count: row.try_get::<Option<i32>, _>("attachments_count")?.unwrap_or(0),
        participants,
        working_hours: minutes.as_deref().map(WorkingHours::from_minutes),
        events: row.try_get("events_compiled")?,
    })
}

/// There is an answer when any of its columns has a value: a view may lack some of them.
fn csat(row: &PgRow) -> Result<Option<SourceCsat>, sqlx::Error> {
    let csat = SourceCsat {
        id: row.try_get("csat_response_id")?,
        rating: row.try_get("csat_rating")?,
        feedback: row.try_get("csat_feedback")?,
        created_at: row.try_get("csat_created_at")?,
        assigned_agent_id: row.try_get("csat_assigned_agent_id")?,
        assigned_agent_name: row.try_get("csat_assigned_agent_name")?,
    };
    let is_there =
        csat.id.is_some() || csat.rating.is_some() || csat.feedback.is_some() || csat.created_at.is_some();
    Ok(is_there.then_some(csat))
}
