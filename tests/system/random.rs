//! Random rows in the source's tables, with every column at its limits. Read from the tables and through the view
//! they must give the same rows, which are those that the reference computes.
//!
//! A case is a seed. `TIDEMARK_TEST_CASES=200` tries the first 200, and a failure names its seed.

use std::fmt::Write as _;

use anyhow::{Context, Result, anyhow};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::columns::{assert_same, reference, target};
use crate::stage::{Stage, on_stage};
use crate::view::{VIEW, assert_same_through};

const CASES: u64 = 12;
const CONVERSATIONS: usize = 250;
/// The number of inboxes, accounts, users, teams and contacts. Ids go further, to rows that do not exist.
const NAMED: i64 = 6;
const TENANTS: [(i32, &[i32]); 2] = [(1, &[1, 2]), (2, &[3, 4, 7])];

/// A value as SQL text.
type Literal = BoxedStrategy<String>;

fn literals(texts: &'static [&'static str]) -> Literal {
    select(texts).prop_map(str::to_owned).boxed()
}

fn or_null(value: Literal) -> Literal {
    prop_oneof![1 => Just("NULL".to_owned()), 3 => value].boxed()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn time() -> Literal {
    let ends = literals(&["'4714-11-24 00:00:00 BC'", "'294276-12-31 23:59:59.999999'"]);
    prop_oneof![1 => ends, 40 => time_on_all_clocks()].boxed()
}

/// PostgreSQL's first and last day are left out: the reference defines no local time there.
fn time_on_all_clocks() -> Literal {
    let edges = literals(&[
        "'infinity'",
        "'-infinity'",
        "'4714-11-25 10:00:00 BC'",
        "'294276-12-30 23:59:59.999999'",
        "'0044-03-15 00:30:00 BC'",
        "'0001-01-01'",
        "'1899-12-31 23:59:59.5'",
        "'9999-07-01 12:00:00.000001'",
    ]);
    // whole seconds, shared by many rows, and the two nights when clocks change
    let ties = literals(&[
        "'2024-03-06 10:00:00'",
        "'2024-03-06 10:00:01'",
        "'2024-03-31 00:59:59.999999'",
        "'2024-03-31 01:00:00'",
        "'2024-10-27 01:30:00'",
        "'2024-12-30'",
    ]);
    let near = (0..63_072_000_000_000_i64)
        .prop_map(|micros| format!("timestamp '2023-01-01' + {micros} * interval '1 microsecond'"));
    prop_oneof![1 => edges, 3 => ties, 6 => near].boxed()
}

fn text() -> Literal {
    prop_oneof![
        3 => "[a-zA-Z0-9 ,.'\"\\\\\n\t]{0,60}",
        3 => "\\PC{0,80}",
        1 => "[áéíçã🙂👩👧\u{200d}שלוםمرحبا中文\u{200f}\u{feff}\u{1}\u{7f}]{0,300}",
        1 => "[a-z]{250,260}",
        1 => "[ ,\u{a0}\u{3000}a]{0,12}",
        1 => select(&["", " ", "null", "NULL", "{}", "\\N", "infinity"][..]).prop_map(str::to_owned),
    ]
    .prop_map(|text| quoted(&text))
    .boxed()
}

fn json() -> Literal {
    let edges = literals(&[
        "'null'",
        "'{}'",
        "'[]'",
        "'\"text\"'",
        "'-0.0'",
        r#"'{"n": 123456789012345678901234567890.10, "e": 1E+400, "z": -0, "f": 0.10, "s": 1e-7}'"#,
        r#"'{"k": {"b": 1, "a": [ ]}, "": null, "d": 1, "d": 2}'"#,
        r#"'["\u0001\"\\\u2028\ud83d\ude00\/", 9223372036854775808, 1.7976931348623157e309]'"#,
    ]);
    prop_oneof![
        2 => edges,
        1 => text().prop_map(|text| format!("to_jsonb({text}::text)")),
        1 => any::<i64>().prop_map(|number| format!("'{{\"score\": {number}}}'")),
    ]
    .boxed()
}

/// Chatwoot's small numbers, and any others.
fn number() -> Literal {
    prop_oneof![
        6 => 0..6_i32,
        1 => any::<i32>(),
        1 => select(&[i32::MIN, -1, i32::MAX][..]),
    ]
    .prop_map(|number| number.to_string())
    .boxed()
}

/// The id of a row that may exist.
fn id() -> Literal {
    prop_oneof![8 => 1..=NAMED, 1 => Just(99)]
        .prop_map(|id| id.to_string())
        .boxed()
}

fn large_id() -> Literal {
    prop_oneof![
        8 => id(),
        1 => any::<i64>().prop_map(|id| id.to_string()),
        1 => literals(&["0", "9223372036854775806"]),
    ]
    .boxed()
}

fn conversation_id() -> Literal {
    let last = i64::try_from(CONVERSATIONS).expect("a small number");
    prop_oneof![10 => 1..=last, 1 => Just(last + 1), 1 => Just(1)]
        .prop_map(|id| id.to_string())
        .boxed()
}

/// Rows of a table as one statement, each beginning with its number.
fn rows(
    table: &'static str,
    columns: &'static str,
    values: Vec<Literal>,
    count: impl Into<proptest::collection::SizeRange>,
) -> Literal {
    assert_eq!(columns.split(',').count(), values.len(), "{table}");
    vec(values, count)
        .prop_map(move |rows| {
            let mut statement = String::new();
            for (row, values) in rows.iter().enumerate() {
                let start = if row == 0 {
                    format!("INSERT INTO {table} (id, {columns}) VALUES\n")
                } else {
                    ",\n".to_owned()
                };
                write!(statement, "{start}({}, {})", row + 1, values.join(", "))
                    .expect("a string can be written to");
            }
            statement + ";\n"
        })
        .boxed()
}

/// Inserts for every table, and the tenants' time zones.
fn database() -> impl Strategy<Value = (String, [&'static str; 2])> {
    let named = usize::try_from(NAMED).expect("a small number");
    let long_ago = || literals(&["'2020-01-01'"]);
    let sender = prop_oneof![
        6 => literals(&["'Contact'", "'User'", "'AgentBot'", "NULL", "''", "'contact'"]),
        1 => text(),
    ]
    .boxed();
    let tables = [
        rows(
            "accounts",
            "name, created_at, updated_at",
            vec![text(), long_ago(), long_ago()],
            named,
        ),
        rows(
            "inboxes",
            "channel_id, account_id, name, channel_type, timezone, created_at, updated_at",
            vec![
                number(),
                id(),
                text(),
                or_null(text()),
                or_null(text()),
                long_ago(),
                long_ago(),
            ],
            named,
        ),
        rows(
            "users",
            "uid, name, email, created_at, updated_at",
            vec![unique(), text(), or_null(text()), long_ago(), long_ago()],
            named,
        ),
        rows(
            "teams",
            "name, account_id, created_at, updated_at",
            vec![text(), unique_number(), long_ago(), long_ago()],
            named,
        ),
        rows(
            "contacts",
            "account_id, name, email, identifier, phone_number, created_at, updated_at",
            vec![
                unique_number(),
                or_null(text()),
                or_null(text()),
                or_null(text()),
                or_null(text()),
                long_ago(),
                long_ago(),
            ],
            named,
        ),
        rows(
            "conversations",
            "display_id, account_id, inbox_id, uuid, status, priority, assignee_id, team_id, campaign_id, contact_id, \
             cached_label_list, custom_attributes, snoozed_until, created_at, updated_at, last_activity_at, \
             first_reply_created_at, waiting_since, contact_last_seen_at, agent_last_seen_at, assignee_last_seen_at",
            vec![
                unique_number(),
                id(),
                (1..=7_i32).prop_map(|inbox| inbox.to_string()).boxed(),
                any::<u128>().prop_map(|uuid| format!("'{uuid:032x}'")).boxed(),
                number(),
                or_null(number()),
                or_null(id()),
                or_null(large_id()),
                or_null(large_id()),
                or_null(large_id()),
                or_null(text()),
                or_null(json()),
                or_null(time()),
                time_on_all_clocks(),
                time(),
                time(),
                or_null(time()),
                or_null(time()),
                or_null(time()),
                or_null(time()),
                or_null(time()),
            ],
            CONVERSATIONS,
        ),
        rows(
            "messages",
            "content, account_id, inbox_id, conversation_id, message_type, content_type, status, created_at, updated_at, \
             private, source_id, sender_type, sender_id, sentiment",
            vec![
                or_null(text()),
                id(),
                id(),
                conversation_id(),
                number(),
                number(),
                or_null(number()),
                time(),
                time(),
                literals(&["true", "false", "false"]),
                or_null(text()),
                sender,
                or_null(large_id()),
                or_null(json()),
            ],
            0..1_200,
        ),
        rows(
            "csat_survey_responses",
            "account_id, conversation_id, message_id, rating, feedback_message, contact_id, created_at, updated_at",
            vec![
                id(),
                conversation_id(),
                unique_number(),
                number(),
                or_null(text()),
                large_id(),
                time(),
                time(),
            ],
            0..120,
        ),
    ];
    let zones = select(
        &[
            "UTC",
            "America/Sao_Paulo",
            "Europe/Lisbon",
            "Asia/Kathmandu",
            "America/New_York",
            "Australia/Lord_Howe",
        ][..],
    );
    (Vec::from(tables), [zones.clone(), zones]).prop_map(|(tables, zones)| (tables.concat(), zones))
}

/// Columns for which the source's indexes allow a value only once.
fn unique_number() -> Literal {
    any::<i32>().prop_map(|number| number.to_string()).boxed()
}

fn unique() -> Literal {
    any::<u64>().prop_map(|number| format!("'{number}'")).boxed()
}

async fn check(stage: &Stage, statements: String, zones: [&str; 2]) -> Result<()> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements))
        .execute(&stage.source)
        .await
        .context("fill the source")?;
    for ((tenant, inboxes), zone) in TENANTS.into_iter().zip(zones) {
        stage.tenant(tenant, zone, inboxes).await?;
    }
    stage.sync_local(&["--all", "--chunk-size", "60"]).await?;
    for ((tenant, inboxes), zone) in TENANTS.into_iter().zip(zones) {
        let expected = reference(stage, tenant, zone, inboxes).await?;
        assert_same(&expected, &target(stage, tenant).await?)?;
    }
    let tenants = TENANTS.map(|(tenant, _)| tenant);
    stage.assert_proven(&tenants, &[]).await?;
    assert_same_through(stage, VIEW).await?;
    let settings = [("TIDEMARK_SOURCE_MODE", "view"), ("TIDEMARK_SOURCE_VIEW", VIEW)];
    stage.assert_proven(&tenants, &settings).await
}

#[expect(
    clippy::disallowed_methods,
    reason = "the environment sets the number of cases"
)]
fn cases() -> u64 {
    std::env::var("TIDEMARK_TEST_CASES").map_or(CASES, |cases| {
        cases.parse().expect("TIDEMARK_TEST_CASES is a number of cases")
    })
}

#[tokio::test]
async fn random_databases_give_the_same_rows_in_both_modes_and_those_of_the_reference() {
    for case in 0..cases() {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&case.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let (statements, zones) = database()
            .new_tree(&mut TestRunner::new_with_rng(Config::default(), rng))
            .map_err(|reason| anyhow!("{reason}"))
            .expect("a database can be made up")
            .current();
        on_stage(|stage| async move {
            check(&stage, statements, zones)
                .await
                .with_context(|| format!("case {case}, time zones {zones:?}"))
        })
        .await;
    }
}
