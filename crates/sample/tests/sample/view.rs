use sqlx::{AssertSqlSafe, query, query_as, query_scalar};
use tidemark_sample::{CreateOptions, create, schema};

use crate::database::{connect, create_foreign, with_database};

const COLUMNS: &str = "conversation_id, display_id, conversation_uuid, account_id, account_name, inbox_id, \
    inbox_name, inbox_channel_type, inbox_timezone, status, priority, snoozed_until, assignee_id, assignee_name, \
    assignee_email, team_id, team_name, campaign_id, contact_id, contact_name, contact_email, contact_phone, \
    contact_identifier, conversation_created_at, conversation_updated_at, last_activity_at, \
    first_reply_created_at, waiting_since, contact_last_seen_at, agent_last_seen_at, client_sender_id, \
    client_phone, message_compiled, csat_response_id, csat_rating, csat_feedback, csat_created_at, \
    cached_label_list, conversation_custom_attributes";

#[tokio::test]
async fn the_view_has_every_listed_column() {
    with_database(async |url| {
        create_foreign(&url).await;
        let mut conn = connect(&url).await;
        schema(&mut conn).await.unwrap();
        let statement = format!("SELECT {COLUMNS} FROM vw_conversations_analytics_final");
        query(AssertSqlSafe(statement)).execute(&mut conn).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_view_agrees_with_the_messages() {
    with_database(async |url| {
        let report = create(&url, &CreateOptions::tiny()).await.unwrap();
        let mut conn = connect(&url).await;
        let different: i64 = query_scalar(
            "SELECT count(*) FROM vw_conversations_analytics_final v \
             WHERE COALESCE(jsonb_array_length(v.message_compiled), 0) \
                <> (SELECT count(*) FROM messages m WHERE m.conversation_id = v.conversation_id)",
        )
        .fetch_one(&mut conn)
        .await
        .unwrap();
        assert_eq!(different, 0);

        // no conversation is missing, and a second response adds a row
        let (rows, conversations): (i64, i64) = query_as(
            "SELECT count(*), count(DISTINCT conversation_id) FROM vw_conversations_analytics_final",
        )
        .fetch_one(&mut conn)
        .await
        .unwrap();
        assert_eq!(u64::try_from(conversations).unwrap(), report.conversations);
        assert!(rows > conversations);
    })
    .await;
}

#[tokio::test]
async fn a_compiled_message_has_the_keys_that_analytics_reads() {
    with_database(async |url| {
        create(&url, &CreateOptions::tiny()).await.unwrap();
        let mut conn = connect(&url).await;
        let keys: Vec<String> = query_scalar(
            "SELECT DISTINCT key FROM vw_message_compiled, jsonb_array_elements(message_compiled) m, \
                    jsonb_object_keys(m) key ORDER BY key",
        )
        .fetch_all(&mut conn)
        .await
        .unwrap();
        let expected = [
            "content_type",
            "message_id",
            "message_type",
            "private",
            "sender",
            "sender_id",
            "sent_at",
            "sentiment",
            "source_id",
            "status",
            "text",
        ];
        assert_eq!(keys, expected);
    })
    .await;
}
