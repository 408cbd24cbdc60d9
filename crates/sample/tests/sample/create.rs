use sqlx::{PgConnection, query_scalar};
use tidemark_sample::{CreateOptions, create, describe, drop_sample};

use crate::database::{connect, create_foreign, with_database};

/// One checksum over the tables that are read.
async fn checksum(url: &str) -> String {
    let mut conn = connect(url).await;
    let mut sums = Vec::new();
    for statement in [
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM accounts t",
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM users t",
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM inboxes t",
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM contacts t",
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM contact_inboxes t",
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM conversations t",
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM messages t",
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM csat_survey_responses t",
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM working_hours t",
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM agent_bots t",
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM agent_bot_inboxes t",
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM captain_assistants t",
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM captain_inboxes t",
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM campaigns t",
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM sla_policies t",
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM reporting_events t",
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM attachments t",
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM conversation_participants t",
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM applied_slas t",
        "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM sla_events t",
    ] {
        sums.push(
            query_scalar::<_, String>(statement)
                .fetch_one(&mut conn)
                .await
                .unwrap(),
        );
    }
    sums.join(" ")
}

async fn count(conn: &mut PgConnection, statement: &'static str) -> i64 {
    query_scalar(statement).fetch_one(conn).await.unwrap()
}

#[tokio::test]
async fn the_same_seed_gives_the_same_data_and_another_seed_other_data() {
    with_database(async |url| {
        let options = CreateOptions {
            replace: true,
            ..CreateOptions::tiny()
        };
        create(&url, &options).await.unwrap();
        let first = checksum(&url).await;
        create(&url, &options).await.unwrap();
        assert_eq!(first, checksum(&url).await);
        create(&url, &CreateOptions { seed: 2, ..options }).await.unwrap();
        assert_ne!(first, checksum(&url).await);
    })
    .await;
}

#[tokio::test]
async fn the_sample_has_the_requested_size() {
    with_database(async |url| {
        let options = CreateOptions {
            conversations: 2_500,
            tenants: 20,
            ..CreateOptions::tiny()
        };
        let report = create(&url, &options).await.unwrap();
        let mut conn = connect(&url).await;

        assert_eq!(report.conversations, 2_500);
        assert_eq!(
            count(&mut conn, "SELECT count(*) FROM conversations").await,
            2_500
        );
        let messages = count(&mut conn, "SELECT count(*) FROM messages").await;
        assert_eq!(i64::try_from(report.messages).unwrap(), messages);
        assert!((6 * 2_500..10 * 2_500).contains(&messages), "{messages} messages");

        assert_eq!(report.tenants, describe(&url).await.unwrap());
        assert_eq!(report.tenants.len(), 20);
        assert_eq!(
            report
                .tenants
                .iter()
                .map(|tenant| tenant.conversations)
                .sum::<u64>(),
            2_500
        );
        assert!(report.tenants[0].conversations > 10 * report.tenants[19].conversations);
        assert!(
            report
                .tenants
                .iter()
                .all(|tenant| (1..=5).contains(&tenant.inbox_ids.len()))
        );
        let mut slugs: Vec<_> = report.tenants.iter().map(|tenant| &tenant.slug).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), 20);
    })
    .await;
}

#[tokio::test]
async fn a_tiny_sample_has_every_oddity() {
    with_database(async |url| {
        create(&url, &CreateOptions::tiny()).await.unwrap();
        let mut conn = connect(&url).await;
        for (oddity, statement) in ODDITIES {
            assert!(count(&mut conn, statement).await > 0, "{oddity}");
        }
        let late = count(
            &mut conn,
            "SELECT count(*) FROM conversations \
             WHERE greatest(updated_at, last_activity_at, agent_last_seen_at) > '2025-06-15 15:06:40'",
        );
        assert_eq!(late.await, 0, "nothing is later than the reference time");
    })
    .await;
}

const ODDITIES: &[(&str, &str)] = &[
    (
        "two survey responses of one conversation",
        "SELECT count(*) FROM (SELECT FROM csat_survey_responses GROUP BY conversation_id HAVING count(*) = 2) t",
    ),
    (
        "a conversation without a message",
        "SELECT count(*) FROM conversations c \
         WHERE NOT EXISTS (SELECT FROM messages m WHERE m.conversation_id = c.id)",
    ),
    (
        "a conversation without a contact",
        "SELECT count(*) FROM conversations WHERE contact_id IS NULL",
    ),
    (
        "thirty conversations at one instant",
        "SELECT count(*) FROM (SELECT FROM conversations GROUP BY updated_at HAVING count(*) >= 30) t",
    ),
    (
        "microseconds",
        "SELECT count(*) FROM conversations WHERE updated_at <> date_trunc('milliseconds', updated_at)",
    ),
    (
        "two messages at one instant",
        "SELECT count(*) FROM (SELECT FROM messages GROUP BY conversation_id, created_at HAVING count(*) > 1) t",
    ),
    (
        "a reply before the start",
        "SELECT count(*) FROM conversations WHERE first_reply_created_at < created_at",
    ),
    (
        "an update that updated_at does not show",
        "SELECT count(*) FROM conversations WHERE updated_at < last_activity_at",
    ),
    (
        "a message by another contact than the conversation's",
        "SELECT count(*) FROM messages m JOIN conversations c ON c.id = m.conversation_id \
         WHERE m.sender_type = 'Contact' AND m.sender_id <> c.contact_id",
    ),
    (
        "a message that is older than the one before",
        "SELECT count(*) FROM messages m JOIN messages n ON n.conversation_id = m.conversation_id AND n.id = m.id + 1 \
         WHERE n.created_at < m.created_at",
    ),
    (
        "a private note",
        "SELECT count(*) FROM messages WHERE private AND sender_type = 'User'",
    ),
    (
        "a bot",
        "SELECT count(*) FROM messages WHERE sender_type = 'AgentBot'",
    ),
    (
        "a template",
        "SELECT count(*) FROM messages WHERE message_type = 3 AND content_type = 0",
    ),
    (
        "an activity without a sender",
        "SELECT count(*) FROM messages WHERE message_type = 2 AND sender_type IS NULL AND sender_id IS NULL",
    ),
    (
        "a message without a text",
        "SELECT count(*) FROM messages WHERE content IS NULL",
    ),
    (
        "a message with an empty text",
        "SELECT count(*) FROM messages WHERE content = ''",
    ),
    (
        "a long text",
        "SELECT count(*) FROM messages WHERE length(content) >= 5000",
    ),
    (
        "a right-to-left mark",
        "SELECT count(*) FROM messages WHERE content LIKE U&'%\\200F%'",
    ),
    (
        "an emoji",
        "SELECT count(*) FROM messages WHERE content LIKE '%👍%'",
    ),
    (
        "Chinese",
        "SELECT count(*) FROM messages WHERE content LIKE '%订单%'",
    ),
    (
        "a sentiment",
        "SELECT count(*) FROM messages WHERE sentiment ? 'score'",
    ),
    (
        "a message without a sentiment",
        "SELECT count(*) FROM messages WHERE sentiment IS NULL",
    ),
    (
        "a contact without a name",
        "SELECT count(*) FROM contacts WHERE name IS NULL",
    ),
    (
        "a contact with an empty phone",
        "SELECT count(*) FROM contacts WHERE phone_number = ''",
    ),
    (
        "a contact without a phone",
        "SELECT count(*) FROM contacts WHERE phone_number IS NULL",
    ),
    (
        "a contact without an email",
        "SELECT count(*) FROM contacts WHERE email IS NULL",
    ),
    (
        "a contact with an empty email",
        "SELECT count(*) FROM contacts WHERE email = ''",
    ),
    (
        "a name over 255 characters",
        "SELECT count(*) FROM contacts WHERE length(name) > 255",
    ),
    (
        "an assignee who is gone",
        "SELECT count(*) FROM conversations c \
         WHERE assignee_id IS NOT NULL AND NOT EXISTS (SELECT FROM users u WHERE u.id = c.assignee_id)",
    ),
    (
        "labels with odd spacing",
        "SELECT count(*) FROM conversations WHERE cached_label_list LIKE '%,,%'",
    ),
    (
        "empty labels",
        "SELECT count(*) FROM conversations WHERE cached_label_list = ''",
    ),
    (
        "a priority",
        "SELECT count(*) FROM conversations WHERE priority = 3",
    ),
    (
        "a campaign",
        "SELECT count(*) FROM conversations WHERE campaign_id IS NOT NULL",
    ),
    (
        "a snoozed conversation",
        "SELECT count(*) FROM conversations WHERE status = 3 AND snoozed_until IS NOT NULL",
    ),
    (
        "a waiting conversation",
        "SELECT count(*) FROM conversations WHERE waiting_since IS NOT NULL",
    ),
    (
        "long feedback",
        "SELECT count(*) FROM csat_survey_responses WHERE length(feedback_message) > 50",
    ),
];

#[tokio::test]
async fn new_rows_get_ids_past_the_data() {
    with_database(async |url| {
        create(&url, &CreateOptions::tiny()).await.unwrap();
        let mut conn = connect(&url).await;
        let next = count(
            &mut conn,
            "INSERT INTO conversations (account_id, inbox_id, display_id, created_at, updated_at) \
             VALUES (1, 1, 100000, now(), now()) RETURNING id::bigint",
        );
        assert_eq!(next.await, 301);
    })
    .await;
}

#[tokio::test]
async fn an_earlier_sample_is_replaced_only_when_asked() {
    with_database(async |url| {
        create(&url, &CreateOptions::tiny()).await.unwrap();
        let refusal = create(&url, &CreateOptions::tiny()).await.unwrap_err();
        assert!(refusal.to_string().contains("earlier sample"), "{refusal}");
        let fewer = CreateOptions {
            conversations: 10,
            replace: true,
            ..CreateOptions::tiny()
        };
        assert_eq!(create(&url, &fewer).await.unwrap().conversations, 10);
    })
    .await;
}

#[tokio::test]
async fn an_empty_database_made_for_the_sample_is_used() {
    with_database(async |url| {
        create_foreign(&url).await;
        let report = create(&url, &CreateOptions::tiny()).await.unwrap();
        assert_eq!(describe(&url).await.unwrap(), report.tenants);
    })
    .await;
}

#[tokio::test]
async fn a_foreign_database_is_neither_replaced_nor_dropped_nor_described() {
    with_database(async |url| {
        create_foreign(&url).await;
        sqlx::raw_sql("CREATE TABLE somebody_elses (id integer)")
            .execute(&mut connect(&url).await)
            .await
            .unwrap();
        let options = CreateOptions {
            replace: true,
            ..CreateOptions::tiny()
        };
        assert!(
            create(&url, &options)
                .await
                .unwrap_err()
                .to_string()
                .contains("not a sample")
        );
        assert!(
            drop_sample(&url)
                .await
                .unwrap_err()
                .to_string()
                .contains("not dropped")
        );
        assert!(
            describe(&url)
                .await
                .unwrap_err()
                .to_string()
                .contains("left alone")
        );
        connect(&url).await;
    })
    .await;
}

#[tokio::test]
async fn dropping_a_sample_twice_is_no_error() {
    with_database(async |url| {
        create(&url, &CreateOptions::tiny()).await.unwrap();
        drop_sample(&url).await.unwrap();
        assert!(describe(&url).await.is_err());
        drop_sample(&url).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_sample_may_be_empty() {
    with_database(async |url| {
        let report = create(
            &url,
            &CreateOptions {
                conversations: 0,
                ..CreateOptions::tiny()
            },
        )
        .await
        .unwrap();
        assert_eq!(
            (report.conversations, report.messages, report.tenants.len()),
            (0, 0, 3)
        );
    })
    .await;
}
