//! Reporting events are those that Chatwoot would have written for the same messages and resolutions.

use sqlx::{PgConnection, query_as, query_scalar};
use tidemark_sample::{CreateOptions, TrafficOptions, create, traffic};
use tokio_util::sync::CancellationToken;

use crate::database::{connect, with_database};

async fn count(conn: &mut PgConnection, statement: &'static str) -> i64 {
    query_scalar(statement).fetch_one(conn).await.unwrap()
}

/// Statements that count events that Chatwoot would not have written.
const WRONG: &[(&str, &str)] = &[
    (
        "a value that is not the difference of the seconds",
        "SELECT count(*) FROM reporting_events WHERE event_end_time IS NOT NULL \
             AND value <> extract(epoch FROM date_trunc('second', event_end_time)) \
                        - extract(epoch FROM date_trunc('second', event_start_time)) \
             AND NOT (name = 'conversation_opened' AND value = 0)",
    ),
    (
        "an event of another account, inbox or conversation",
        "SELECT count(*) FROM reporting_events e LEFT JOIN conversations c ON c.id = e.conversation_id \
         WHERE (c.account_id, c.inbox_id) IS DISTINCT FROM (e.account_id, e.inbox_id)",
    ),
    (
        "two first responses",
        "SELECT count(*) FROM (SELECT FROM reporting_events WHERE name = 'first_response' \
                               GROUP BY conversation_id HAVING count(*) > 1) t",
    ),
    (
        // a later edit or deletion replaces the attributes, which show an echo
        "a first response that no agent wrote then",
        "SELECT count(*) FROM reporting_events e WHERE name = 'first_response' AND NOT EXISTS ( \
             SELECT FROM messages m WHERE m.conversation_id = e.conversation_id AND m.created_at = e.created_at \
               AND m.message_type = 1 AND NOT m.private AND m.sender_id IS NOT DISTINCT FROM e.user_id \
               AND (m.sender_type = 'User' OR m.content_attributes::text LIKE '%external_echo%' \
                    OR m.updated_at > m.created_at))",
    ),
    (
        "a resolution that does not begin with its conversation",
        "SELECT count(*) FROM reporting_events e JOIN conversations c ON c.id = e.conversation_id \
         WHERE e.name IN ('conversation_resolved', 'conversation_bot_resolved') AND e.event_start_time <> c.created_at",
    ),
    (
        "a bot's resolution without its copy",
        "SELECT count(*) FROM reporting_events b WHERE name = 'conversation_bot_resolved' AND NOT EXISTS ( \
             SELECT FROM reporting_events r WHERE r.conversation_id = b.conversation_id \
               AND r.name = 'conversation_resolved' AND r.created_at = b.created_at AND r.value = b.value \
               AND r.event_end_time IS NOT DISTINCT FROM b.event_end_time)",
    ),
    (
        "a bot's resolution where an agent wrote before, or no bot is active",
        // every 83rd conversation has a back-dated message, which came after the resolution
        "SELECT count(*) FROM reporting_events b WHERE name = 'conversation_bot_resolved' \
             AND b.conversation_id % 83 <> 0 AND ( \
             EXISTS (SELECT FROM messages m WHERE m.conversation_id = b.conversation_id AND m.message_type = 1 \
                     AND m.sender_type = 'User' AND m.created_at < b.created_at) \
             OR NOT (EXISTS (SELECT FROM agent_bot_inboxes i WHERE i.inbox_id = b.inbox_id AND i.status = 0) \
                     OR EXISTS (SELECT FROM captain_inboxes i WHERE i.inbox_id = b.inbox_id)))",
    ),
    (
        "an opening that does not follow the last resolution",
        "SELECT count(*) FROM reporting_events o WHERE name = 'conversation_opened' AND value > 0 \
           AND event_start_time IS NOT NULL AND NOT EXISTS ( \
             SELECT FROM reporting_events r WHERE r.conversation_id = o.conversation_id \
               AND r.name = 'conversation_resolved' AND r.event_end_time = o.event_start_time)",
    ),
    (
        "an event before its conversation or after the reference time",
        "SELECT count(*) FROM reporting_events e JOIN conversations c ON c.id = e.conversation_id \
         WHERE e.created_at < c.created_at OR e.created_at > '2025-06-15 15:06:40'",
    ),
];

#[tokio::test]
async fn events_are_those_that_chatwoot_writes() {
    with_database(async |url| {
        let options = CreateOptions {
            conversations: 2_000,
            ..CreateOptions::tiny()
        };
        create(&url, &options).await.unwrap();
        let mut conn = connect(&url).await;
        for (what, statement) in WRONG {
            assert_eq!(count(&mut conn, statement).await, 0, "{what}");
        }
    })
    .await;
}

/// Computes the seconds within working hours a second time: of each local day, the part that the span and the hours share.
const BUSINESS_SECONDS: &str = "SELECT count(*), count(*) FILTER (WHERE within > 0), \
           count(*) FILTER (WHERE within <> value_in_business_hours) \
    FROM ( \
        SELECT e.value_in_business_hours, \
               CASE WHEN i.working_hours_enabled THEN ( \
                   SELECT coalesce(round(sum(extract(epoch FROM greatest(interval '0', \
                       least(e.event_end_time, (day::timestamp + make_time(h.close_hour, h.close_minutes, 0)) \
                             AT TIME ZONE i.timezone AT TIME ZONE 'UTC') \
                       - greatest(e.event_start_time, (day::timestamp + make_time(h.open_hour, h.open_minutes, 0)) \
                             AT TIME ZONE i.timezone AT TIME ZONE 'UTC'))))), 0) \
                   FROM generate_series((e.event_start_time AT TIME ZONE 'UTC' AT TIME ZONE i.timezone)::date::timestamp, \
                                        (e.event_end_time AT TIME ZONE 'UTC' AT TIME ZONE i.timezone)::date::timestamp, \
                                        interval '1 day') AS day \
                   JOIN working_hours h ON h.inbox_id = i.id AND h.day_of_week = extract(dow FROM day) \
                        AND NOT h.closed_all_day) \
               ELSE 0 END AS within \
        FROM reporting_events e JOIN inboxes i ON i.id = e.inbox_id \
        WHERE e.event_end_time IS NOT NULL AND e.value_in_business_hours IS NOT NULL \
          AND e.event_start_time <= e.event_end_time \
          AND NOT (e.name = 'conversation_opened' AND e.value = 0) \
    ) t";

#[tokio::test]
async fn business_hours_are_those_of_the_inbox_in_its_time_zone() {
    with_database(async |url| {
        create(&url, &CreateOptions::tiny()).await.unwrap();
        let options = TrafficOptions {
            rate_per_second: 0.0,
            count: Some(300),
            ..TrafficOptions::default()
        };
        traffic(&url, &options, CancellationToken::new()).await.unwrap();
        let (all, within, wrong): (i64, i64, i64) = query_as(BUSINESS_SECONDS)
            .fetch_one(&mut connect(&url).await)
            .await
            .unwrap();
        assert!(all > 500 && within > 100, "{within} of {all}");
        assert_eq!(wrong, 0);
    })
    .await;
}

#[tokio::test]
async fn traffic_writes_the_events_of_what_it_does() {
    with_database(async |url| {
        create(&url, &CreateOptions::tiny()).await.unwrap();
        let mut conn = connect(&url).await;
        let last: i64 = count(&mut conn, "SELECT max(id) FROM reporting_events").await;
        let options = TrafficOptions {
            rate_per_second: 0.0,
            count: Some(800),
            ..TrafficOptions::default()
        };
        traffic(&url, &options, CancellationToken::new()).await.unwrap();
        let written: Vec<String> =
            query_scalar("SELECT DISTINCT name FROM reporting_events WHERE id > $1 ORDER BY name")
                .bind(last)
                .fetch_all(&mut conn)
                .await
                .unwrap();
        let expected = [
            "conversation_bot_handoff",
            "conversation_bot_resolved",
            "conversation_opened",
            "conversation_resolved",
            "first_response",
            "reply_time",
        ];
        assert_eq!(written, expected);
        for (what, statement) in &WRONG[..WRONG.len() - 1] {
            assert_eq!(count(&mut conn, statement).await, 0, "{what}");
        }
        let orphans = "SELECT count(*) FROM reporting_events e \
                       WHERE NOT EXISTS (SELECT FROM conversations c WHERE c.id = e.conversation_id)";
        assert_eq!(count(&mut conn, orphans).await, 0);
    })
    .await;
}

#[tokio::test]
async fn older_versions_write_the_events_that_they_know() {
    with_database(async |url| {
        let names = async |version: &str| -> Vec<String> {
            let options = CreateOptions {
                chatwoot: version.parse().unwrap(),
                replace: true,
                ..CreateOptions::tiny()
            };
            create(&url, &options).await.unwrap();
            let options = TrafficOptions {
                rate_per_second: 0.0,
                count: Some(200),
                ..TrafficOptions::default()
            };
            traffic(&url, &options, CancellationToken::new()).await.unwrap();
            query_scalar("SELECT DISTINCT name FROM reporting_events ORDER BY name")
                .fetch_all(&mut connect(&url).await)
                .await
                .unwrap()
        };
        assert_eq!(names("2.5.0").await, ["conversation_resolved", "first_response"]);
        let of_3_0 = [
            "conversation_bot_handoff",
            "conversation_resolved",
            "first_response",
            "reply_time",
        ];
        assert_eq!(names("3.0.0").await, of_3_0);
        assert_eq!(names("4.15.1").await.len(), 8);
    })
    .await;
}
