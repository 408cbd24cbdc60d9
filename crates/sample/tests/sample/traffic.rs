use std::time::Duration;

use sqlx::{query_as, query_scalar};
use tidemark_sample::{ChangeKind, CreateOptions, TrafficOptions, create, traffic};
use tokio_util::sync::CancellationToken;

use crate::database::{connect, create_foreign, with_database};

fn burst(count: u64) -> TrafficOptions {
    TrafficOptions {
        rate_per_second: 0.0,
        count: Some(count),
        ..TrafficOptions::default()
    }
}

/// The sample's rows after the changes, without times and without values that the server draws.
async fn choices(url: &str) -> String {
    query_scalar(
        "SELECT (SELECT string_agg(concat_ws(' ', id, inbox_id, contact_id, status, assignee_id, cached_label_list), ';' \
                        ORDER BY id) FROM conversations) \
             || (SELECT string_agg(concat_ws(' ', id, conversation_id, content, message_type, status), ';' ORDER BY id) \
                 FROM messages) \
             || (SELECT string_agg(concat_ws(' ', id, name), ';' ORDER BY id) FROM contacts) \
             || (SELECT string_agg(concat_ws(' ', conversation_id, rating), ';' ORDER BY id) FROM csat_survey_responses) \
             || (SELECT string_agg(concat_ws(' ', conversation_id, name, user_id), ';' ORDER BY id) FROM reporting_events) \
             || (SELECT string_agg(concat_ws(' ', conversation_id, sla_status), ';' ORDER BY id) FROM applied_slas) \
             || (SELECT string_agg(concat_ws(' ', conversation_id, user_id), ';' ORDER BY id) \
                 FROM conversation_participants) \
             || (SELECT string_agg(concat_ws(' ', message_id, file_type), ';' ORDER BY id) FROM attachments)",
    )
    .fetch_one(&mut connect(url).await)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_burst_makes_every_kind_of_change() {
    with_database(async |url| {
        create(&url, &CreateOptions::tiny()).await.unwrap();
        let mut conn = connect(&url).await;
        let last_message: i32 = query_scalar("SELECT max(id) FROM messages").fetch_one(&mut conn).await.unwrap();
        let report = traffic(&url, &burst(500), CancellationToken::new()).await.unwrap();

        assert_eq!(report.total(), 500);
        let missing: Vec<_> =
            ChangeKind::ALL.into_iter().filter(|kind| !report.by_kind.contains_key(kind)).collect();
        assert!(missing.is_empty(), "{missing:?}");

        let (conversations, deleted): (i64, i64) = query_as(
            "SELECT count(*) FILTER (WHERE id > 300), 300 - count(*) FILTER (WHERE id <= 300) FROM conversations",
        )
        .fetch_one(&mut conn)
        .await
        .unwrap();
        let made = i64::try_from(report.by_kind[&ChangeKind::ConversationCreated]).unwrap();
        let gone = i64::try_from(report.by_kind[&ChangeKind::ConversationDeleted]).unwrap();
        assert_eq!(made - conversations, gone - deleted, "deleted are old ones or new ones");

        let (messages, deleted, orphans): (i64, i64, i64) = query_as(
            "SELECT count(*) FILTER (WHERE id > $1), count(*) FILTER (WHERE content_attributes ->> 'deleted' = 'true'), \
                    count(*) FILTER (WHERE NOT EXISTS (SELECT FROM conversations c WHERE c.id = conversation_id)) \
             FROM messages",
        )
        .bind(last_message)
        .fetch_one(&mut conn)
        .await
        .unwrap();
        assert!(messages > 200, "{messages}");
        assert!(deleted > 0);
        assert_eq!(orphans, 0);
        let left_behind: i64 = query_scalar(
            "SELECT (SELECT count(*) FROM reporting_events e \
                     WHERE NOT EXISTS (SELECT FROM conversations c WHERE c.id = e.conversation_id)) \
                  + (SELECT count(*) FROM applied_slas a \
                     WHERE NOT EXISTS (SELECT FROM conversations c WHERE c.id = a.conversation_id)) \
                  + (SELECT count(*) FROM conversation_participants p \
                     WHERE NOT EXISTS (SELECT FROM conversations c WHERE c.id = p.conversation_id)) \
                  + (SELECT count(*) FROM attachments a \
                     WHERE NOT EXISTS (SELECT FROM messages m WHERE m.id = a.message_id))",
        )
        .fetch_one(&mut conn)
        .await
        .unwrap();
        assert_eq!(left_behind, 0, "rows of deleted conversations");
    })
    .await;
}

#[tokio::test]
async fn some_changes_leave_updated_at_alone() {
    with_database(async |url| {
        create(&url, &CreateOptions::tiny()).await.unwrap();
        traffic(&url, &burst(300), CancellationToken::new())
            .await
            .unwrap();
        let (active, seen, changed_message): (i64, i64, i64) = query_as(
            "SELECT count(*) FILTER (WHERE last_activity_at > updated_at), \
                    count(*) FILTER (WHERE agent_last_seen_at > greatest(updated_at, last_activity_at)), \
                    count(*) FILTER (WHERE EXISTS (SELECT FROM messages m WHERE m.conversation_id = c.id \
                        AND m.updated_at > greatest(c.updated_at, c.last_activity_at))) \
             FROM conversations c",
        )
        .fetch_one(&mut connect(&url).await)
        .await
        .unwrap();
        assert!(
            active > 0 && seen > 0 && changed_message > 0,
            "{active} {seen} {changed_message}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_burst_is_the_same_for_a_seed() {
    with_database(async |url| {
        let options = CreateOptions {
            replace: true,
            ..CreateOptions::tiny()
        };
        let mut outcomes = Vec::new();
        for seed in [7, 7, 8] {
            create(&url, &options).await.unwrap();
            traffic(
                &url,
                &TrafficOptions { seed, ..burst(200) },
                CancellationToken::new(),
            )
            .await
            .unwrap();
            outcomes.push(choices(&url).await);
        }
        assert!(outcomes[0] == outcomes[1], "the same seed made other choices");
        assert!(outcomes[0] != outcomes[2], "another seed made the same choices");
    })
    .await;
}

#[tokio::test]
async fn traffic_can_follow_traffic_of_the_same_seed_and_start_from_nothing() {
    with_database(async |url| {
        create(
            &url,
            &CreateOptions {
                conversations: 0,
                ..CreateOptions::tiny()
            },
        )
        .await
        .unwrap();
        for _ in 0..2 {
            assert_eq!(
                traffic(&url, &burst(50), CancellationToken::new())
                    .await
                    .unwrap()
                    .total(),
                50
            );
        }
    })
    .await;
}

#[tokio::test]
async fn traffic_ends_with_its_duration_and_with_its_token() {
    with_database(async |url| {
        create(&url, &CreateOptions::tiny()).await.unwrap();
        let timed = TrafficOptions {
            rate_per_second: 100.0,
            duration: Some(Duration::from_millis(300)),
            ..TrafficOptions::default()
        };
        let total = traffic(&url, &timed, CancellationToken::new())
            .await
            .unwrap()
            .total();
        assert!((1..=31).contains(&total), "{total} changes");

        let stop = CancellationToken::new();
        stop.cancel();
        assert_eq!(
            traffic(&url, &TrafficOptions::default(), stop)
                .await
                .unwrap()
                .total(),
            0
        );
    })
    .await;
}

#[tokio::test]
async fn traffic_refuses_a_foreign_database() {
    with_database(async |url| {
        create_foreign(&url).await;
        let refusal = traffic(&url, &burst(1), CancellationToken::new())
            .await
            .unwrap_err();
        assert!(refusal.to_string().contains("left alone"), "{refusal}");
    })
    .await;
}

#[tokio::test]
async fn traffic_refuses_an_invalid_rate() {
    with_database(async |url| {
        create(
            &url,
            &CreateOptions {
                conversations: 0,
                ..CreateOptions::tiny()
            },
        )
        .await
        .unwrap();
        for rate_per_second in [-1.0, 1e-300, f64::NAN] {
            let options = TrafficOptions {
                rate_per_second,
                ..burst(1)
            };
            assert!(
                traffic(&url, &options, CancellationToken::new()).await.is_err(),
                "{rate_per_second}"
            );
        }
    })
    .await;
}
