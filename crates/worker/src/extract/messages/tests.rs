use sqlx::raw_sql;

use super::*;
use crate::test_server::test_server;

/// A table with the columns that `messages.sql` reads.
const TABLE: &str = "CREATE TEMPORARY TABLE messages (conversation_id integer, id integer, content text, \
     sender_type varchar, sender_id bigint, created_at timestamp, message_type integer, content_type integer, \
     status integer, private boolean, sentiment jsonb, source_id varchar, content_attributes json)";

async fn with_messages(rows: &'static str) -> PgConnection {
    let mut server = test_server().await;
    for statement in ["BEGIN", TABLE, rows] {
        raw_sql(statement).execute(&mut server).await.unwrap();
    }
    server
}

#[tokio::test]
async fn messages_come_in_order_with_every_value_and_every_null() {
    let mut server = with_messages(
        "INSERT INTO messages VALUES \
         (2, 21, 'é', 'Contact', 7, '2024-01-02 03:04:05.000006', 0, 1, 2, true, '{\"score\": 1.50}', 'abc', \
          '\"{\\\"external_echo\\\":true}\"'), \
         (1, 12, '', NULL, NULL, 'infinity', NULL, NULL, NULL, false, NULL, NULL, NULL), \
         (1, 11, NULL, 'User', 9223372036854775807, '-infinity', 3, -2147483648, 2147483647, false, 'null', '', '{}'), \
         (3, 31, 'of another', NULL, NULL, now(), NULL, NULL, NULL, false, NULL, NULL, NULL)",
    )
    .await;
    for is_query in [false, true, false] {
        let mut messages = if is_query {
            MessageStream::query(&mut server, &SELECT, &[1, 2])
        } else {
            MessageStream::copy(&mut server, &SELECT, &[1, 2]).await.unwrap()
        };
        let mut found = Vec::new();
        while let Some(row) = messages.try_next().await.unwrap() {
            let Message {
                conversation_id,
                message,
                ..
            } = row.decode().unwrap();
            found.push((conversation_id, format!("{message:?}")));
        }
        let expected = [
            (
                1,
                SourceMessage {
                    id: 11,
                    content: None,
                    sender_type: Some("User"),
                    sender_id: Some(i64::MAX),
                    created_at: SourceTime::NEG_INFINITY,
                    message_type: Some(3),
                    content_type: Some(i32::MIN),
                    status: Some(i32::MAX),
                    private: false,
                    sentiment: Some("null"),
                    source_id: Some(""),
                    marks: MessageMarks::default(),
                },
            ),
            (
                1,
                SourceMessage {
                    id: 12,
                    content: Some(""),
                    sender_type: None,
                    sender_id: None,
                    created_at: SourceTime::INFINITY,
                    message_type: None,
                    content_type: None,
                    status: None,
                    private: false,
                    sentiment: None,
                    source_id: None,
                    marks: MessageMarks::default(),
                },
            ),
            (
                2,
                SourceMessage {
                    id: 21,
                    content: Some("é"),
                    sender_type: Some("Contact"),
                    sender_id: Some(7),
                    created_at: "2024-01-02T03:04:05.000006".parse().unwrap(),
                    message_type: Some(0),
                    content_type: Some(1),
                    status: Some(2),
                    private: true,
                    sentiment: Some("{\"score\": 1.50}"),
                    source_id: Some("abc"),
                    marks: MessageMarks {
                        is_external_echo: true,
                        ..MessageMarks::default()
                    },
                },
            ),
        ];
        assert_eq!(
            found,
            expected.map(|(id, message)| (id, format!("{message:?}"))),
            "and once more on the same connection"
        );
    }
}

#[tokio::test]
async fn the_digest_is_the_one_that_the_source_computes() {
    let mut server = with_messages(
        "INSERT INTO messages VALUES (1, 11, 'a', 'User', 3, '2024-01-02', 0, 0, 0, false, '{}', NULL)",
    )
    .await;
    let expected: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
        "SELECT {} FROM messages m",
        message_digest()
    )))
    .fetch_one(&mut server)
    .await
    .unwrap();
    let mut copy = MessageStream::copy(&mut server, &SELECT, &[1]).await.unwrap();
    let row = copy.try_next().await.unwrap().unwrap();
    assert_eq!(row.decode().unwrap().digest, expected);
}

#[tokio::test]
async fn a_copy_may_have_no_rows() {
    let mut server = with_messages("SELECT").await;
    for conversations in [&[][..], &[1, 2]] {
        let mut copy = MessageStream::copy(&mut server, &SELECT, conversations)
            .await
            .unwrap();
        assert!(copy.try_next().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_message_without_a_required_value_is_a_data_error_and_the_others_are_discarded() {
    let mut server = with_messages(
        "INSERT INTO messages SELECT 1, 11, 'a', 'User', 3, NULL, 0, 0, 0, false, '{}', NULL FROM generate_series(1, 5000)",
    )
    .await;
    let mut copy = MessageStream::copy(&mut server, &SELECT, &[1]).await.unwrap();
    let row = copy.try_next().await.unwrap().unwrap();
    let Err(error) = row.decode() else {
        panic!("a message without a time")
    };
    assert!(matches!(error, sqlx::Error::Decode(_)), "{error}");
    assert!(error.to_string().contains("created_at is NULL"), "{error}");
    copy.drain().await.unwrap();
    raw_sql("SELECT").execute(&mut server).await.unwrap();
}

#[tokio::test]
async fn a_connection_works_after_a_message_that_the_server_cannot_read() {
    let mut server = test_server().await;
    let statements = [
        "CREATE TEMPORARY TABLE stored (n integer)",
        "INSERT INTO stored SELECT generate_series(1, 3)",
        "CREATE TEMPORARY VIEW messages AS SELECT 1 AS conversation_id, n AS id, (10 / (3 - n))::text AS content, \
             NULL::text AS sender_type, NULL::bigint AS sender_id, now()::timestamp AS created_at, 0 AS message_type, \
             0 AS content_type, 0 AS status, false AS private, NULL::jsonb AS sentiment, NULL::text AS source_id, \
             NULL::json AS content_attributes FROM stored",
        "BEGIN",
        "SAVEPOINT extract",
    ];
    for statement in statements {
        raw_sql(statement).execute(&mut server).await.unwrap();
    }
    for _ in 0..2 {
        let error = {
            let mut copy = MessageStream::copy(&mut server, &SELECT, &[1]).await.unwrap();
            loop {
                match copy.try_next().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("no error came"),
                    Err(error) => break error,
                }
            }
        };
        let code = error.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("22012"));
        raw_sql("ROLLBACK TO SAVEPOINT extract")
            .execute(&mut server)
            .await
            .unwrap();
    }
}
