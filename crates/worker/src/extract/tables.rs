//! Queries of Chatwoot's own tables.

use std::collections::HashMap;
use std::sync::LazyLock;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, Row, raw_sql};
use tidemark_source::Shape;
use tidemark_source::digest::{
    contact_digest, conversation_digest, event_digest, related_digest, working_hours,
};

use crate::row::source::{SourceConversation, SourceCsat, SourceDetails, WorkingHours};

static CONVERSATIONS: LazyLock<String> = LazyLock::new(|| {
    include_str!("conversations.sql")
        .replace("{digest}", &conversation_digest())
        .replace("{related}", &related_digest())
        .replace("{contact}", &contact_digest())
        .replace("{event}", &event_digest())
        .replace("{working_hours}", &working_hours())
});
const PHONES: &str = "SELECT id::bigint, phone_number::text FROM contacts WHERE id = ANY($1)";

/// The ids of the tenant's conversations in `lo..=hi`, ascending. The values are in the text, so that PostgreSQL plans for them: it
/// searches the range or the inboxes, whichever are fewer.
pub(super) async fn keys_in_range(
    connection: &mut PgConnection,
    inboxes: &[i32],
    lo: i64,
    hi: i64,
) -> Result<Vec<i64>, sqlx::Error> {
    let inboxes = inboxes.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let statement = format!(
        "SELECT id::bigint FROM conversations \
         WHERE id BETWEEN {lo} AND {hi} AND inbox_id = ANY('{{{inboxes}}}'::integer[]) ORDER BY id"
    );
    let rows = raw_sql(AssertSqlSafe(statement)).fetch_all(connection).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// The conversations of these ids that exist and are in the tenant's inboxes, ascending.
pub(super) async fn conversations(
    connection: &mut PgConnection,
    shape: &Shape,
    inboxes: &[i32],
    ids: &[i64],
    digest_seed: &str,
) -> Result<Vec<Conversation>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(shape.on_tables(&CONVERSATIONS).as_ref()))
        .bind(ids)
        .bind(inboxes)
        .bind(digest_seed)
        .fetch_all(connection)
        .await
}

/// The phone numbers of these contacts; `None` for a contact that does not exist.
pub(crate) async fn phones(
    connection: &mut PgConnection,
    shape: &Shape,
    contacts: &[i64],
) -> Result<HashMap<i64, Option<String>>, sqlx::Error> {
    let found: Vec<(i64, Option<String>)> = sqlx::query_as(AssertSqlSafe(shape.on_tables(PHONES).as_ref()))
        .bind(contacts)
        .fetch_all(connection)
        .await?;
    let mut phones: HashMap<i64, Option<String>> = contacts.iter().map(|contact| (*contact, None)).collect();
    phones.extend(found);
    Ok(phones)
}

/// A conversation, with the digests of its row and of the rows that it refers to, as the source computed them.
pub(super) struct Conversation {
    pub record: SourceConversation,
    pub digest: i64,
    pub related_digest: i64,
    pub contact_digest: Option<i64>,
}

impl FromRow<'_, PgRow> for Conversation {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            record: SourceConversation::from_row(row)?,
            digest: row.try_get(36)?,
            related_digest: row.try_get(37)?,
            contact_digest: row.try_get(59)?,
        })
    }
}

impl FromRow<'_, PgRow> for SourceConversation {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let csat_id: Option<i64> = row.try_get(32)?;
        let csat = match csat_id {
            Some(_) => Some(SourceCsat {
                id: csat_id,
                rating: row.try_get(33)?,
                feedback: row.try_get(34)?,
                created_at: row.try_get(35)?,
                assigned_agent_id: row.try_get(38)?,
                assigned_agent_name: row.try_get(39)?,
            }),
            None => None,
        };
        Ok(Self {
            id: row.try_get(0)?,
            display_id: row.try_get(1)?,
            uuid: row.try_get(2)?,
            account_id: row.try_get(3)?,
            account_name: row.try_get(4)?,
            inbox_id: row.try_get(5)?,
            inbox_name: row.try_get(6)?,
            inbox_channel_type: row.try_get(7)?,
            inbox_timezone: row.try_get(8)?,
            campaign_id: row.try_get(9)?,
            cached_label_list: row.try_get(10)?,
            custom_attributes: row.try_get(11)?,
            status: row.try_get(12)?,
            priority: row.try_get(13)?,
            snoozed_until: row.try_get(14)?,
            assignee_id: row.try_get(15)?,
            assignee_name: row.try_get(16)?,
            assignee_email: row.try_get(17)?,
            team_id: row.try_get(18)?,
            team_name: row.try_get(19)?,
            contact_id: row.try_get(20)?,
            contact_name: row.try_get(21)?,
            contact_email: row.try_get(22)?,
            contact_phone: row.try_get(23)?,
            contact_identifier: row.try_get(24)?,
            created_at: row.try_get(25)?,
            updated_at: row.try_get(26)?,
            last_activity_at: row.try_get(27)?,
            first_reply_created_at: row.try_get(28)?,
            waiting_since: row.try_get(29)?,
            contact_last_seen_at: row.try_get(30)?,
            agent_last_seen_at: row.try_get(31)?,
            csat,
            csat_responses_count: row.try_get::<Option<i32>, _>(40)?.unwrap_or(0),
            details: details(row)?,
        })
    }
}

fn details(row: &PgRow) -> Result<SourceDetails, sqlx::Error> {
    let minutes: Option<Vec<Option<i32>>> = row.try_get(57)?;
    Ok(SourceDetails {
        identifier: row.try_get(41)?,
        additional_attributes: row.try_get(42)?,
        sla_policy_id: row.try_get(43)?,
        sla_policy_name: row.try_get(44)?,
        sla_status: row.try_get(45)?,
        campaign_title: row.try_get(46)?,
        assignee_display_name: row.try_get(47)?,
        contact_custom_attributes: row.try_get(48)?,
        contact_additional_attributes: row.try_get(49)?,
        contact_country_code: row.try_get(50)?,
        contact_blocked: row.try_get(51)?,
        contact_created_at: row.try_get(52)?,
        assignee_agent_bot_id: row.try_get(53)?,
        assignee_agent_bot_name: row.try_get(54)?,
        attachments_count: row.try_get::<Option<i32>, _>(55)?.unwrap_or(0),
        participants: row.try_get::<Option<Vec<i32>>, _>(56)?.unwrap_or_default(),
        working_hours: minutes.as_deref().map(WorkingHours::from_minutes),
        events: row.try_get(58)?,
    })
}
