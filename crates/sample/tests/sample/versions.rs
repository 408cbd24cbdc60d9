//! Samples of older versions of Chatwoot, and upgrades in place.

use sqlx::{PgConnection, query_as, query_scalar};
use tidemark_sample::{CreateOptions, TrafficOptions, create, traffic, upgrade};
use tidemark_shared::chatwoot::{NEWEST_KNOWN, OLDEST_SUPPORTED, Version, changes, columns_of};
use tokio_util::sync::CancellationToken;

use crate::database::{connect, with_database};

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn tiny(chatwoot: Version) -> CreateOptions {
    CreateOptions {
        chatwoot,
        replace: true,
        ..CreateOptions::tiny()
    }
}

/// Table, column, type and whether it may be NULL, of every table in the database.
async fn catalog(conn: &mut PgConnection) -> Vec<(String, String, String, bool)> {
    query_as(
        "SELECT c.relname::text, a.attname::text, a.atttypid::regtype::text, NOT a.attnotnull \
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped \
         ORDER BY 1, 2",
    )
    .fetch_all(conn)
    .await
    .unwrap()
}

fn known(version: Version) -> Vec<(String, String, String, bool)> {
    let mut columns: Vec<_> = columns_of(version)
        .map(|column| {
            let kind = column.kind.sql().to_owned();
            (
                column.table.to_owned(),
                column.name.to_owned(),
                kind,
                column.nullable,
            )
        })
        .collect();
    columns.sort_unstable();
    columns
}

/// Definitions of columns and indexes, with defaults and lengths.
async fn definitions(conn: &mut PgConnection) -> Vec<String> {
    query_scalar(
        "SELECT concat_ws(' ', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, \
                          pg_get_expr(d.adbin, d.adrelid)) \
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
         LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum \
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0 \
           AND NOT a.attisdropped \
         UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index \
         WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace) ORDER BY 1",
    )
    .fetch_all(conn)
    .await
    .unwrap()
}

async fn make_traffic(url: &str, count: u64) {
    let options = TrafficOptions {
        rate_per_second: 0.0,
        count: Some(count),
        ..TrafficOptions::default()
    };
    let report = traffic(url, &options, CancellationToken::new()).await.unwrap();
    assert_eq!(report.total(), count);
}

async fn rows_of_view(conn: &mut PgConnection) -> i64 {
    query_scalar("SELECT count(message_compiled) FROM vw_conversations_analytics_final")
        .fetch_one(conn)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_sample_has_the_columns_of_its_version_and_takes_traffic() {
    with_database(async |url| {
        // the last two have the columns of the version before them
        for text in ["2.0.0", "2.12.1", "3.5.0", "2.11.0", "4.15.0"] {
            let report = create(&url, &tiny(version(text))).await.unwrap();
            assert_eq!(report.chatwoot, version(text));
            let mut conn = connect(&url).await;
            assert_eq!(catalog(&mut conn).await, known(version(text)), "{text}");
            make_traffic(&url, 80).await;
            assert!(rows_of_view(&mut conn).await > 250, "{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn columns_that_two_versions_have_are_filled_equally() {
    with_database(async |url| {
        let sum = async || -> String {
            query_scalar(
                "SELECT md5((SELECT string_agg(concat_ws('|', id, status, uuid, updated_at, team_id), ';' ORDER BY id) \
                             FROM conversations) \
                         || (SELECT string_agg(concat_ws('|', id, content, source_id, status), ';' ORDER BY id) \
                             FROM messages) \
                         || (SELECT string_agg(concat_ws('|', id, name, phone_number), ';' ORDER BY id) FROM contacts))",
            )
            .fetch_one(&mut connect(&url).await)
            .await
            .unwrap()
        };
        create(&url, &tiny(NEWEST_KNOWN)).await.unwrap();
        let newest = sum().await;
        create(&url, &tiny(OLDEST_SUPPORTED)).await.unwrap();
        assert_eq!(sum().await, newest);
    })
    .await;
}

#[tokio::test]
async fn an_upgraded_sample_has_the_columns_of_every_version_on_the_way_and_at_last_those_of_a_new_one() {
    with_database(async |url| {
        create(&url, &tiny(NEWEST_KNOWN)).await.unwrap();
        let of_new_one = definitions(&mut connect(&url).await).await;
        create(&url, &tiny(OLDEST_SUPPORTED)).await.unwrap();
        let mut conn = connect(&url).await;
        let newer = changes()
            .into_iter()
            .filter(|version| *version > OLDEST_SUPPORTED);
        let mut from = OLDEST_SUPPORTED;
        for to in newer.chain([NEWEST_KNOWN]) {
            let report = upgrade(&url, to).await.unwrap();
            assert_eq!((report.from, report.to), (from, to));
            assert_eq!(catalog(&mut conn).await, known(to), "{to}");
            make_traffic(&url, 30).await;
            from = to;
        }
        assert_eq!(definitions(&mut conn).await, of_new_one);
        let (replied, prioritized, labelled, waiting, sentiment): (i64, i64, i64, i64, i64) = query_as(
            "SELECT count(first_reply_created_at), count(priority), count(cached_label_list), count(waiting_since), \
                    (SELECT count(*) FROM messages WHERE sentiment ? 'score') FROM conversations",
        )
        .fetch_one(&mut conn)
        .await
        .unwrap();
        for filled in [replied, prioritized, labelled, waiting, sentiment] {
            assert!(filled > 0, "{replied} {prioritized} {labelled} {waiting} {sentiment}");
        }
        let (assistants, policies, states, participants, events): (i64, i64, i64, i64, i64) = query_as(
            "SELECT (SELECT count(*) FROM captain_assistants a JOIN accounts c ON c.id = a.id AND c.id = a.account_id), \
                    (SELECT count(*) FROM conversations c JOIN sla_policies p ON p.id = c.sla_policy_id), \
                    (SELECT count(DISTINCT sla_status) FROM applied_slas), \
                    (SELECT count(*) FROM conversation_participants), \
                    (SELECT count(DISTINCT name) FROM reporting_events)",
        )
        .fetch_one(&mut conn)
        .await
        .unwrap();
        assert_eq!((assistants, states), (3, 4));
        for filled in [policies, participants, events] {
            assert!(filled > 1, "{policies} {participants} {events}");
        }
    })
    .await;
}

#[tokio::test]
async fn one_upgrade_may_pass_many_versions_and_none_goes_back() {
    with_database(async |url| {
        create(&url, &tiny(version("2.11.0"))).await.unwrap();
        let report = upgrade(&url, version("3.4.0")).await.unwrap();
        let steps: Vec<String> = report.steps.iter().map(ToString::to_string).collect();
        let expected = ["2.12.1", "2.14.0", "2.17.0", "2.18.0", "3.0.0", "3.3.0", "3.4.0"];
        assert_eq!(steps, expected);
        assert_eq!(catalog(&mut connect(&url).await).await, known(version("3.4.0")));
        for other in ["3.4.0", "2.0.0"] {
            let refusal = upgrade(&url, version(other)).await.unwrap_err().to_string();
            assert!(refusal.contains("has Chatwoot 3.4.0"), "{refusal}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_version_that_is_not_known_is_refused_before_anything_is_made() {
    with_database(async |url| {
        for other in ["1.22.0", "4.16.0"] {
            let refusal = create(&url, &tiny(version(other))).await.unwrap_err().to_string();
            assert!(
                refusal.contains("choose a version from 2.0.0 to 4.15.1"),
                "{refusal}"
            );
        }
        assert!(!tidemark_sample::is_sample(&url).await.unwrap());
    })
    .await;
}
