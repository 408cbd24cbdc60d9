//! Comparisons: every kind of fault is found and called by its name, a repair mends all, and what a sync would bring is
//! no fault.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor};
use tidemark_worker::load::row_digest::Hashing;

use crate::proxy::Proxy;
use crate::stage::{Answer, Stage, on_stage};
use crate::view::VIEW;

/// Rows at fault by conversation.
type Faults = BTreeMap<i64, String>;

/// How many conversations the corruptions are spread over, and how many there are.
#[expect(clippy::disallowed_methods, reason = "a size for a longer run")]
fn size() -> (u64, usize) {
    let rows = std::env::var("TIDEMARK_TEST_VERIFY_ROWS").ok();
    (rows.and_then(|rows| rows.parse().ok()).unwrap_or(1_500), 200)
}

async fn verify(stage: &Stage, args: &[&str]) -> Result<Answer> {
    stage
        .tidemark(&[&["verify", "--tenant", "1", "--json"], args].concat())
        .await
}

fn faults(answer: &Answer) -> Faults {
    let found = answer.json();
    let faults = found["faults"].as_array().expect("an array");
    let fault = |fault: &Value| {
        (
            fault["conversation_id"].as_i64().expect("an id"),
            fault["kind"].as_str().expect("a name").to_owned(),
        )
    };
    faults.iter().map(fault).collect()
}

/// Columns of the target that may hold something else, with their types.
async fn columns(stage: &Stage) -> Result<Vec<(String, String)>> {
    Ok(sqlx::query_as(
        "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute \
         WHERE attrelid = 'conversations_analytics'::regclass AND attnum > 0 AND NOT attisdropped \
           AND attname NOT IN ('tenant_id', 'conversation_id', 'source_deleted_at') ORDER BY attnum",
    )
    .fetch_all(&stage.target)
    .await?)
}

/// Another value than that of the column, within its type.
fn another(column: &str, sql_type: &str) -> String {
    match sql_type {
        "boolean" => format!("{column} IS NOT TRUE"),
        "integer" | "bigint" | "numeric" => format!("coalesce({column}, 0) + 1"),
        "timestamp with time zone" => format!(
            "CASE WHEN isfinite({column}) THEN {column} + interval '1 microsecond' ELSE '2020-01-01' END"
        ),
        "date" => format!("coalesce({column}, '2020-01-01') + 1"),
        "jsonb" => format!("jsonb_build_array({column})"),
        "text[]" => format!("{column} || 'x'::text"),
        "uuid" => "gen_random_uuid()".to_owned(),
        "bytea" => "decode(md5(random()::text), 'hex')".to_owned(),
        _ => format!("CASE {column} WHEN 'x' THEN 'y' ELSE 'x' END"),
    }
}

/// One corruption after the other, and what each makes of which rows.
struct Vandal<'a> {
    stage: &'a Stage,
    rng: StdRng,
    /// Conversations that nobody has touched.
    untouched: Vec<i64>,
    /// The next id that no conversation has.
    unused: i64,
    columns: Vec<(String, String)>,
    turn: usize,
    expected: Faults,
}

impl Vandal<'_> {
    async fn on_target(&self, statement: String) -> Result<()> {
        let done = self
            .stage
            .target
            .execute(AssertSqlSafe(statement.clone()))
            .await?;
        ensure!(done.rows_affected() == 1, "{statement}: {done:?}");
        Ok(())
    }

    async fn on_source(&self, statement: String) -> Result<()> {
        let done = self
            .stage
            .source
            .execute(AssertSqlSafe(statement.clone()))
            .await?;
        ensure!(done.rows_affected() >= 1, "{statement}: {done:?}");
        Ok(())
    }

    /// What all conversations with this contact become.
    async fn expect_of_contact(&mut self, contact: &str) -> Result<()> {
        let of: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT conversation_id FROM conversations_analytics \
             WHERE tenant_id = 1 AND source_deleted_at IS NULL AND (contact_id = {contact} OR client_sender_id = {contact})"
        )))
        .fetch_all(&self.stage.target)
        .await?;
        for id in of {
            self.untouched.retain(|other| *other != id);
            self.expected.entry(id).or_insert_with(|| "stale".to_owned());
        }
        Ok(())
    }

    async fn corrupt(&mut self) -> Result<()> {
        let id = self.untouched.pop().context("there are more conversations")?;
        let row = format!("WHERE tenant_id = 1 AND conversation_id = {id}");
        self.turn += 1;
        let kind = match self.turn % 20 {
            0 | 1 => {
                self.on_target(format!("DELETE FROM conversations_analytics {row}"))
                    .await?;
                "missing"
            }
            2 => {
                self.on_target(format!(
                    "UPDATE conversations_analytics SET source_deleted_at = now() {row}"
                ))
                .await?;
                "missing"
            }
            3 | 4 => {
                self.unused += self.rng.random_range(1..5_000);
                let extra = self.unused;
                self.on_target(format!(
                    "INSERT INTO conversations_analytics \
                     SELECT (jsonb_populate_record(t, '{{\"conversation_id\": {extra}}}')).* \
                     FROM conversations_analytics t {row}"
                ))
                .await?;
                self.expected.insert(extra, "extra".to_owned());
                return Ok(());
            }
            5 => {
                self.on_source(format!("DELETE FROM conversations WHERE id = {id}"))
                    .await?;
                "extra"
            }
            6 => {
                self.on_source(format!(
                    "UPDATE conversations SET priority = coalesce(priority, 0) % 3 + 1, \
                                        custom_attributes = '{{\"silent\": true}}' WHERE id = {id}"
                ))
                .await?;
                "stale"
            }
            7 => {
                self.on_source(format!(
                    "UPDATE messages SET content = coalesce(content, '') || '!' \
                     WHERE id = (SELECT max(id) FROM messages WHERE conversation_id = {id})"
                ))
                .await?;
                "stale"
            }
            8 => {
                self.on_source(format!(
                    "DELETE FROM messages WHERE id = (SELECT min(id) FROM messages WHERE conversation_id = {id})"
                ))
                .await?;
                "stale"
            }
            9 => {
                // back-dated, as an import writes it
                self.on_source(format!(
                    "INSERT INTO messages (content, account_id, inbox_id, conversation_id, message_type, created_at, updated_at) \
                     SELECT 'late', account_id, inbox_id, id, 2, '2020-01-01', '2020-01-01' FROM conversations WHERE id = {id}"
                ))
                .await?;
                "stale"
            }
            10 => {
                let contact: Option<i64> =
                    sqlx::query_scalar("SELECT contact_id FROM conversations WHERE id = $1")
                        .bind(id)
                        .fetch_one(&self.stage.source)
                        .await?;
                let contact = contact.unwrap_or(0).to_string();
                self.stage
                    .source
                    .execute(AssertSqlSafe(format!(
                        "UPDATE contacts SET phone_number = '+55 11 0000-{id}', name = 'Another' WHERE id = {contact}"
                    )))
                    .await?;
                self.untouched.push(id);
                return self.expect_of_contact(&contact).await;
            }
            11 => {
                self.on_source(format!(
                    "INSERT INTO csat_survey_responses (account_id, conversation_id, message_id, rating, contact_id, created_at, \
                                                        updated_at) \
                     SELECT 1, {id}, -{id}, 1, 1, now() + interval '1 year', '2020-01-01'"
                ))
                .await?;
                "stale"
            }
            12 => {
                let digest = ["row_hash", "source_digest", "related_digest", "row_digest"]
                    .choose(&mut self.rng)
                    .expect("there are four");
                let sql_type = if *digest == "row_hash" { "bytea" } else { "bigint" };
                let value = match (*digest, self.rng.random_bool(0.5)) {
                    ("row_hash", _) => another(digest, sql_type),
                    (digest, true) => format!("{digest} # 1"),
                    (digest, false) => format!("-({digest} / 2)"),
                };
                self.on_target(format!(
                    "UPDATE conversations_analytics SET {digest} = {value} {row}"
                ))
                .await?;
                "different"
            }
            _ => {
                let (column, sql_type) = self.columns.pop().context("there are more columns")?;
                let value = another(&column, &sql_type);
                self.on_target(format!(
                    "UPDATE conversations_analytics SET {column} = {value} {row}"
                ))
                .await?;
                "different"
            }
        };
        self.expected.insert(id, kind.to_owned());
        Ok(())
    }
}

#[tokio::test]
async fn random_corruptions_are_found_named_and_mended() {
    on_stage(|stage| async move {
        let (rows, corruptions) = size();
        stage.sample(rows, 1, 90).await?;
        stage.sync_local(&["--all"]).await?;
        stage.assert_proven(&[1], &[]).await?;

        let seed: u64 = rand::random();
        eprintln!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let mut untouched: Vec<i64> = sqlx::query_scalar(
            "SELECT conversation_id FROM conversations_analytics WHERE t_messages > 1 AND tenant_id = 1",
        )
        .fetch_all(&stage.target)
        .await?;
        untouched.shuffle(&mut rng);
        // every column has its turn, in any order, and when all have had it from the start
        let mut all = columns(&stage).await?;
        all.shuffle(&mut rng);
        let mut vandal = Vandal {
            stage: &stage,
            unused: i64::try_from(rows)?,
            columns: [all.clone(), all].concat(),
            rng,
            untouched,
            turn: 0,
            expected: Faults::new(),
        };
        for _ in 0..corruptions {
            vandal.corrupt().await?;
        }
        let expected = vandal.expected;

        for args in [&[][..], &["--deep"]] {
            let found = verify(&stage, args).await?;
            ensure!(found.code == 1, "{found:?}");
            let found_faults = faults(&found);
            let differences: BTreeSet<_> = expected
                .iter()
                .filter(|(id, kind)| found_faults.get(id) != Some(kind))
                .map(|(id, kind)| (*id, kind.as_str(), found_faults.get(id)))
                .collect();
            ensure!(differences.is_empty(), "{args:?}: {differences:?} of {found:#?}");
            ensure!(
                found_faults.len() == expected.len(),
                "{args:?}: more than was done: {found:#?}"
            );
            for kind in ["missing", "extra", "stale", "different"] {
                let count = expected.values().filter(|name| *name == kind).count();
                ensure!(found.json()[kind] == count, "{kind}: {count} of {found:#?}");
            }
        }

        let mended = verify(&stage, &["--repair"]).await?;
        ensure!(
            mended.code == 0 && mended.json()["verdict"] == "equal",
            "{mended:?}"
        );
        stage.assert_proven(&[1], &[]).await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn proving_a_tenant_equal_moves_less_than_a_hundredth_of_what_a_sync_moves() {
    on_stage(|stage| async move {
        let rows = size().0.max(5_000);
        stage.sample(rows, 1, 94).await?;
        let (source, target) = (stage.url("source"), stage.url("target"));
        let (to_source, to_target) = (Proxy::before(&source).await?, Proxy::before(&target).await?);
        let urls = (to_source.url(&source)?, to_target.url(&target)?);
        let settings = [
            ("TIDEMARK_SOURCE_URL", urls.0.as_str()),
            ("TIDEMARK_DATABASE_URL", urls.1.as_str()),
        ];
        let carried = || (to_source.carried(), to_target.carried());
        let synced = stage
            .tidemark_with(&["sync", "--all", "--local"], &settings)
            .await?;
        ensure!(synced.code == 0, "{synced:?}");
        let sync = carried();
        stage.assert_proven(&[1], &settings).await?;
        let both = carried();
        let verify = (both.0 - sync.0, both.1 - sync.1);
        eprintln!(
            "{rows} conversations: a sync moved {sync:?} bytes at source and target, a comparison {verify:?}"
        );
        ensure!(
            100 * (verify.0 + verify.1) < sync.0 + sync.1,
            "{verify:?} of {sync:?}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn what_a_sync_would_bring_is_no_fault_and_what_it_would_not_see_is_one() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 91).await?;
        stage.sync_local(&["--all"]).await?;
        let clock = "(clock_timestamp() AT TIME ZONE 'UTC')";
        for changed in [
            "UPDATE conversations SET status = 3 - status, updated_at = {clock} WHERE id = 7",
            "UPDATE conversations SET status = 3 - status, updated_at = '2020-01-01' WHERE id = 8",
            "UPDATE conversations SET status = 3 - status, updated_at = '2999-01-01' WHERE id = 9",
        ] {
            stage
                .source
                .execute(AssertSqlSafe(changed.replace("{clock}", clock)))
                .await?;
        }
        let found = verify(&stage, &[]).await?;
        ensure!(found.code == 1 && found.json()["pending"] == 1, "{found:?}");
        let stale = |id| (id, "stale".to_owned());
        ensure!(faults(&found) == Faults::from([stale(8), stale(9)]), "{found:?}");
        stage.sync_local(&["--all"]).await?;
        stage.assert_proven(&[1], &[]).await?;

        // rows of a release that had no digests are compared the long way, until they are written again
        stage
            .target
            .execute("UPDATE conversations_analytics SET row_digest = NULL, related_digest = NULL")
            .await?;
        stage
            .target
            .execute("UPDATE conversations_analytics SET csat_rating = 9 WHERE conversation_id = 11")
            .await?;
        let found = verify(&stage, &[]).await?;
        ensure!(found.code == 1 && found.json()["different"] == 1, "{found:?}");
        ensure!(found.json()["unproven"] == 299, "{found:?}");
        let mended = verify(&stage, &["--repair"]).await?;
        ensure!(mended.code == 0, "{mended:?}");
        stage.assert_proven(&[1], &[]).await
    })
    .await;
}

/// Trap 28: before version 14 rows were hashed as texts, and a dump brings those digests to a newer server.
#[tokio::test]
async fn digests_of_an_older_server_are_accepted_and_a_row_changed_by_hand_is_found_all_the_same() {
    on_stage(|stage| async move {
        stage.sample(120, 1, 95).await?;
        stage.sync_local(&["--all"]).await?;
        let mut target = stage.target.acquire().await?;
        for setting in ["SET TimeZone = 'UTC'", "SET DateStyle = 'ISO, MDY'"] {
            target.execute(setting).await?;
        }
        let as_before_14 = format!(
            "UPDATE conversations_analytics t SET row_digest = {}",
            Hashing::Texts.digest_of_stored_row("t")
        );
        let written = target.execute(AssertSqlSafe(as_before_14)).await?.rows_affected();
        ensure!(written == 120, "{written} rows");
        drop(target);
        stage.assert_proven(&[1], &[]).await?;

        stage
            .target
            .execute("UPDATE conversations_analytics SET csat_rating = 9 WHERE conversation_id = 11")
            .await?;
        let found = verify(&stage, &[]).await?;
        ensure!(
            faults(&found) == Faults::from([(11, "different".to_owned())]),
            "{found:?}"
        );
        // a row of a version that was raised by hand is repaired too
        stage
            .target
            .execute("UPDATE conversations_analytics SET source_epoch = 9 WHERE conversation_id = 12")
            .await?;
        let repaired = verify(&stage, &["--repair"]).await?;
        ensure!(repaired.code == 0, "{repaired:?}");
        stage.assert_proven(&[1], &[]).await
    })
    .await;
}

#[tokio::test]
async fn through_a_view_messages_names_and_rows_are_compared_too() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 92).await?;
        let settings = [("TIDEMARK_SOURCE_MODE", "view"), ("TIDEMARK_SOURCE_VIEW", VIEW)];
        let sync = ["sync", "--local", "--all"];
        let synced = stage.tidemark_with(&sync, &settings).await?;
        ensure!(synced.code == 0, "{synced:?}");
        stage.assert_proven(&[1], &settings).await?;
        stage
            .source
            .execute(
                "UPDATE messages SET content = 'edited' WHERE id = (SELECT max(id) FROM messages WHERE conversation_id = 5)",
            )
            .await?;
        stage
            .target
            .execute("UPDATE conversations_analytics SET avg_message_length = 1 WHERE conversation_id = 6")
            .await?;
        stage
            .target
            .execute("DELETE FROM conversations_analytics WHERE conversation_id = 7")
            .await?;
        let verify = ["verify", "--tenant", "1", "--json"];
        let found = stage.tidemark_with(&verify, &settings).await?;
        let expected = [(5, "stale"), (6, "different"), (7, "missing")];
        let expected: Faults = expected.map(|(id, kind)| (id, kind.to_owned())).into();
        ensure!(found.code == 1 && faults(&found) == expected, "{found:?}");
        let repair = [&verify[..], &["--repair"]].concat();
        let mended = stage.tidemark_with(&repair, &settings).await?;
        ensure!(mended.code == 0, "{mended:?}");
        stage.assert_proven(&[1], &settings).await
    })
    .await;
}

#[tokio::test]
async fn the_fleet_compares_in_chunks_and_on_schedule_without_false_alarm() {
    on_stage(|stage| async move {
        stage.sample(400, 1, 93).await?;
        let _up = stage.start(&["up"])?;
        let synced = stage.tidemark(&["sync", "--all", "--wait"]).await?;
        ensure!(synced.code == 0, "{synced:?}");

        // a change that no timestamp tells of: the scheduled comparison sees it before the sync does, and waits for that
        stage
            .source
            .execute("UPDATE conversations SET priority = 3 - coalesce(priority, 0) WHERE id = 5")
            .await?;
        let scheduled = ["tenant", "set", "--tenant", "1", "--verify-interval", "1h"];
        ensure!(stage.tidemark(&scheduled).await?.code == 0);
        stage
            .until("SELECT count(*) = 1 FROM etl_verification_part WHERE NOT is_settled AND stale = 1")
            .await?;
        let syncing = ["tenant", "set", "--tenant", "1", "--sync-interval", "1s"];
        ensure!(stage.tidemark(&syncing).await?.code == 0);
        stage
            .until("SELECT count(*) = 1 FROM etl_control WHERE type = 'verify' AND status = 'success'")
            .await?;
        stage
            .until("SELECT missing + extra + stale + different + pending = 0 AND source_rows > 300 FROM etl_verification")
            .await?;
        let idle = ["tenant", "set", "--tenant", "1", "--sync-interval", "1h"];
        ensure!(stage.tidemark(&idle).await?.code == 0);
        stage
            .until("SELECT count(*) = 0 FROM etl_control WHERE finished_at IS NULL")
            .await?;

        stage
            .target
            .execute("UPDATE conversations_analytics SET team_name = 'nobody' WHERE conversation_id = 6")
            .await?;
        let found = verify(&stage, &["--wait"]).await?;
        ensure!(found.code == 1, "{found:?}");
        ensure!(faults(&found) == Faults::from([(6, "different".to_owned())]), "{found:?}");
        ensure!(found.json()["faults"][0]["columns"][0] == "team_name", "{found:?}");
        let runs = stage.tidemark(&["run", "list", "--tenant", "1", "--limit", "1"]).await?;
        ensure!(runs.stdout.contains("success, 1 at fault"), "{runs:?}");
        let status = stage.tidemark(&["status", "--json"]).await?;
        let last = &status.json()["tenants"][0]["last_verification"];
        ensure!(last["verdict"] == "different" && last["different"] == 1, "{status:?}");

        let mended = verify(&stage, &["--wait", "--repair", "--deep"]).await?;
        ensure!(mended.code == 0 && mended.json()["verdict"] == "equal", "{mended:?}");
        // a scheduled look may still have moved it
        let moves: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM etl_watermark_audit a JOIN etl_control r ON r.id = a.run_id \
             WHERE r.type IN ('verify', 'repair')",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(moves == 0, "comparing moved the watermark");
        Ok(())
    })
    .await;
}
