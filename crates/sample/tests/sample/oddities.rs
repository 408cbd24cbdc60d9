//! What Chatwoot writes beside conversations and messages is in the smallest sample too.

use sqlx::query_scalar;
use tidemark_sample::{CreateOptions, create};

use crate::database::{connect, with_database};

#[tokio::test]
async fn a_tiny_sample_has_everything_that_chatwoot_writes_beside_conversations() {
    with_database(async |url| {
        create(&url, &CreateOptions::tiny()).await.unwrap();
        let mut conn = connect(&url).await;
        let mut missing = Vec::new();
        for (what, condition) in THERE {
            let statement = format!("SELECT EXISTS (SELECT FROM {condition})");
            let there: bool = query_scalar(sqlx::AssertSqlSafe(statement))
                .fetch_one(&mut conn)
                .await
                .unwrap();
            if !there {
                missing.push(what);
            }
        }
        assert!(missing.is_empty(), "{missing:#?}");
        for (what, condition) in NOWHERE {
            let statement = format!("SELECT count(*) FROM {condition}");
            let count: i64 = query_scalar(sqlx::AssertSqlSafe(statement))
                .fetch_one(&mut conn)
                .await
                .unwrap();
            assert_eq!(count, 0, "{what}");
        }
    })
    .await;
}

const THERE: &[(&str, &str)] = &[
    (
        "a first response",
        "reporting_events WHERE name = 'first_response'",
    ),
    ("a reply", "reporting_events WHERE name = 'reply_time'"),
    (
        "a conversation with two resolutions",
        "(SELECT FROM reporting_events WHERE name = 'conversation_resolved' GROUP BY conversation_id HAVING count(*) = 2) t",
    ),
    (
        "a bot's resolution",
        "reporting_events WHERE name = 'conversation_bot_resolved'",
    ),
    (
        "a hand-off",
        "reporting_events WHERE name = 'conversation_bot_handoff'",
    ),
    (
        "a conversation opened again after its resolution",
        "reporting_events WHERE name = 'conversation_opened' AND value > 0",
    ),
    (
        "a conversation that was resolved and is not now",
        "conversations c WHERE status <> 1 AND EXISTS (SELECT FROM reporting_events e \
             WHERE e.conversation_id = c.id AND e.name = 'conversation_resolved')",
    ),
    (
        "a resolved conversation without an event",
        "conversations c WHERE status = 1 AND NOT EXISTS (SELECT FROM reporting_events e \
             WHERE e.conversation_id = c.id AND e.name = 'conversation_resolved')",
    ),
    (
        "a resolution whose conversation was touched later",
        "conversations c JOIN reporting_events e ON e.conversation_id = c.id AND e.name = 'conversation_resolved' \
             WHERE c.updated_at > e.created_at",
    ),
    (
        "a first response by another agent than the assignee",
        "reporting_events e JOIN conversations c ON c.id = e.conversation_id \
             WHERE e.name = 'first_response' AND e.user_id <> c.assignee_id",
    ),
    (
        "an event of nobody",
        "reporting_events WHERE user_id IS NULL AND name = 'conversation_resolved'",
    ),
    (
        "an event without times",
        "reporting_events WHERE event_end_time IS NULL AND value_in_business_hours IS NULL",
    ),
    (
        "an event outside of business hours in an inbox that has them",
        "reporting_events e JOIN inboxes i ON i.id = e.inbox_id \
             WHERE i.working_hours_enabled AND e.value > 60 AND e.value_in_business_hours = 0",
    ),
    (
        "an event within business hours",
        "reporting_events WHERE value_in_business_hours > 0",
    ),
    (
        "attributes as an object",
        "messages WHERE json_typeof(content_attributes) = 'object'",
    ),
    (
        "attributes as a string",
        "messages WHERE json_typeof(content_attributes) = 'string'",
    ),
    (
        "a deleted message, as an object",
        "messages WHERE content = 'This message was deleted' AND content_attributes ->> 'deleted' = 'true'",
    ),
    (
        "a deleted message, as a string",
        "messages WHERE content = 'This message was deleted' \
             AND (content_attributes #>> '{}')::json ->> 'deleted' = 'true' \
             AND json_typeof(content_attributes) = 'string'",
    ),
    (
        "a failed message",
        "messages WHERE status = 3 AND message_type = 1",
    ),
    (
        "an echo",
        "messages WHERE content_attributes::text LIKE '%external_echo%' AND message_type = 1 AND sender_type IS NULL \
             AND sender_id IS NULL",
    ),
    (
        "automation without a sender",
        "messages WHERE content_attributes::text LIKE '%automation_rule_id%' AND sender_type IS NULL",
    ),
    (
        "automation by a user",
        "messages WHERE content_attributes::text LIKE '%automation_rule_id%' AND sender_type = 'User'",
    ),
    (
        "a resolution in the messages",
        "messages WHERE message_type = 2 AND content LIKE '%resolvida por%'",
    ),
    (
        "a survey without an answer",
        "messages m WHERE content_type = 9 AND NOT EXISTS (SELECT FROM csat_survey_responses r WHERE r.message_id = m.id)",
    ),
    (
        "a survey of another agent than the assignee",
        "csat_survey_responses r JOIN conversations c ON c.id = r.conversation_id WHERE r.assigned_agent_id <> c.assignee_id",
    ),
    (
        "a campaign",
        "conversations c JOIN campaigns p ON p.id = c.campaign_id AND p.account_id = c.account_id",
    ),
    ("a long title", "campaigns WHERE length(title) > 255"),
    ("an active SLA", "applied_slas WHERE sla_status = 0"),
    ("a hit SLA", "applied_slas WHERE sla_status = 1"),
    ("a missed SLA", "applied_slas WHERE sla_status = 2"),
    ("an active SLA with misses", "applied_slas WHERE sla_status = 3"),
    (
        "a policy that was never applied",
        "conversations c WHERE sla_policy_id IS NOT NULL \
             AND NOT EXISTS (SELECT FROM applied_slas a WHERE a.conversation_id = c.id)",
    ),
    ("a miss", "sla_events"),
    (
        "an assigned bot",
        "conversations WHERE assignee_agent_bot_id IS NOT NULL AND assignee_id IS NULL",
    ),
    ("an identifier", "conversations WHERE identifier IS NOT NULL"),
    (
        "a referer",
        "conversations WHERE additional_attributes ? 'referer'",
    ),
    (
        "no attributes",
        "conversations WHERE additional_attributes IS NULL",
    ),
    ("a display name", "users WHERE display_name IS NOT NULL"),
    (
        "a contact's own attributes",
        "contacts WHERE custom_attributes ? 'plano'",
    ),
    (
        "a contact without attributes",
        "contacts WHERE custom_attributes IS NULL",
    ),
    (
        "a contact's company",
        "contacts WHERE additional_attributes ? 'company_name'",
    ),
    ("a country", "contacts WHERE country_code = 'BR'"),
    ("a blocked contact", "contacts WHERE blocked"),
    (
        "an attachment of a text",
        "attachments a JOIN messages m ON m.id = a.message_id WHERE m.content <> ''",
    ),
    (
        "several attachments",
        "(SELECT FROM attachments GROUP BY message_id HAVING count(*) > 1) t",
    ),
    (
        "several participants",
        "(SELECT FROM conversation_participants GROUP BY conversation_id HAVING count(*) > 1) t",
    ),
    (
        "participants that are not in the order of their ids",
        "conversation_participants p JOIN conversation_participants q ON q.conversation_id = p.conversation_id \
             AND q.id > p.id AND q.user_id < p.user_id",
    ),
    (
        "enabled hours with a closed day",
        "working_hours h JOIN inboxes i ON i.id = h.inbox_id WHERE i.working_hours_enabled AND h.closed_all_day",
    ),
    (
        "enabled hours with a day that is open all day",
        "working_hours h JOIN inboxes i ON i.id = h.inbox_id WHERE i.working_hours_enabled AND h.open_all_day",
    ),
    (
        "odd minutes",
        "working_hours h JOIN inboxes i ON i.id = h.inbox_id WHERE i.working_hours_enabled AND h.open_minutes = 17",
    ),
    (
        "hours that are not enabled",
        "inboxes WHERE NOT working_hours_enabled",
    ),
    (
        "hours in two time zones",
        "(SELECT FROM inboxes WHERE working_hours_enabled HAVING count(DISTINCT timezone) > 1) t",
    ),
    ("an active bot", "agent_bot_inboxes WHERE status = 0"),
    ("a bot that is not active", "agent_bot_inboxes WHERE status = 1"),
    ("an inbox of an assistant", "captain_inboxes"),
];

const NOWHERE: &[(&str, &str)] = &[
    (
        "a bot that is not there",
        "messages m WHERE sender_type = 'AgentBot' AND NOT EXISTS (SELECT FROM agent_bots b WHERE b.id = m.sender_id)",
    ),
    (
        "an assistant that is not there",
        "messages m WHERE sender_type = 'Captain::Assistant' \
             AND NOT EXISTS (SELECT FROM captain_assistants a WHERE a.id = m.sender_id)",
    ),
    (
        "an assigned bot that is not there",
        "conversations c WHERE assignee_agent_bot_id IS NOT NULL \
             AND NOT EXISTS (SELECT FROM agent_bots b WHERE b.id = c.assignee_agent_bot_id)",
    ),
    (
        "an inbox without seven days",
        "inboxes i WHERE (SELECT count(DISTINCT day_of_week) FROM working_hours h WHERE h.inbox_id = i.id) <> 7",
    ),
    (
        "a message without text and file",
        "messages m WHERE content IS NULL AND NOT EXISTS (SELECT FROM attachments a WHERE a.message_id = m.id)",
    ),
    (
        "a deleted message with a file",
        "messages m JOIN attachments a ON a.message_id = m.id WHERE m.content = 'This message was deleted'",
    ),
    (
        "a participant of another account",
        "conversation_participants p JOIN conversations c ON c.id = p.conversation_id WHERE c.account_id <> p.account_id",
    ),
    (
        "an answer to what was no survey",
        "csat_survey_responses r JOIN messages m ON m.id = r.message_id WHERE m.content_type <> 9",
    ),
];
