//! `tidemark doctor` on a healthy installation, and with one thing broken at a time.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};

use crate::stage::{Answer, Stage, on_stage};
use crate::view::VIEW;

/// A login at source and target with the rights that a fleet needs, and no others.
struct Logins {
    name: String,
    source: String,
    target: String,
}

impl Logins {
    async fn create(stage: &Stage) -> Result<Self> {
        let name = format!("doctor_{:08x}", rand::random::<u32>());
        let source =
            format!("CREATE ROLE {name} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}");
        stage.source.execute(AssertSqlSafe(source)).await?;
        let target = format!("GRANT etl_service, console_service TO {name}");
        stage.target.execute(AssertSqlSafe(target)).await?;
        let url = |side| -> Result<String> {
            let mut url = url::Url::parse(&stage.url(side))?;
            let set = url
                .set_username(&name)
                .and_then(|()| url.set_password(Some("s3cr%40t")));
            ensure!(set.is_ok(), "a URL takes a user");
            Ok(url.to_string())
        };
        Ok(Self {
            source: url("source")?,
            target: url("target")?,
            name,
        })
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        vec![
            ("TIDEMARK_SOURCE_URL", self.source.as_str()),
            ("TIDEMARK_DATABASE_URL", self.target.as_str()),
        ]
    }

    async fn drop(&self, stage: &Stage) -> Result<()> {
        let owned = format!("DROP OWNED BY {0}; DROP ROLE {0}", self.name);
        Ok(stage.source.execute(AssertSqlSafe(owned)).await.map(drop)?)
    }
}

const INDEX_OK: (&str, &str, &str) = ("source main", "index", "ok");
const INDEX_MISSING: (&str, &str, &str) = ("source main", "index", "warning");

/// One finding of the doctor.
struct Said {
    level: String,
    found: String,
    todo: String,
}

fn said(answer: &Answer, group: &str, check: &str) -> Vec<Said> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let report = answer.json();
    let groups = report["groups"].as_array().cloned().unwrap_or_default();
    let mut all = Vec::new();
    for findings in groups
        .iter()
        .filter(|one| one["group"] == group)
        .filter_map(|one| one["findings"].as_array())
    {
        for finding in findings.iter().filter(|finding| finding["check"] == check) {
            let todo = finding["todo"].as_array().into_iter().flatten().map(text);
            all.push(Said {
                level: text(&finding["level"]),
                found: text(&finding["found"]),
                todo: todo.collect::<Vec<_>>().join("\n"),
            });
        }
    }
    all
}

/// True when a finding of this check and level has `part` in its text or in its remedy.
fn says(answer: &Answer, (group, check, level): (&str, &str, &str), part: &str) -> bool {
    said(answer, group, check)
        .iter()
        .any(|said| said.level == level && (said.found.contains(part) || said.todo.contains(part)))
}

async fn doctor(stage: &Stage, settings: &[(&str, &str)]) -> Result<Answer> {
    let answer = stage.tidemark_with(&["doctor", "--json"], settings).await?;
    for secret in ["s3cr", "guest:"] {
        ensure!(
            !answer.stdout.contains(secret) && !answer.stderr.contains(secret),
            "a secret: {answer:?}"
        );
    }
    Ok(answer)
}

async fn run(db: &PgPool, statement: String) -> Result<()> {
    Ok(db.execute(AssertSqlSafe(statement)).await.map(drop)?)
}

/// Runs a test with logins of its own, and drops them afterwards.
async fn with_logins(stage: &Stage, test: impl AsyncFnOnce(&Logins) -> Result<()>) -> Result<()> {
    let logins = Logins::create(stage).await?;
    let outcome = test(&logins).await;
    logins.drop(stage).await?;
    outcome
}

/// The check-up must report this error, and exit with 1.
async fn assert_error(
    stage: &Stage,
    logins: &Logins,
    (group, check): (&str, &str),
    part: &str,
) -> Result<Answer> {
    let answer = doctor(stage, &logins.settings()).await?;
    ensure!(
        answer.code == 1 && says(&answer, (group, check, "error"), part),
        "no {check} error with {part}: {answer:?}"
    );
    Ok(answer)
}

#[tokio::test]
async fn a_healthy_installation_has_nothing_to_say() {
    on_stage(async |stage| -> Result<()> {
        let tenants = stage.sample(200, 2, 5).await?;
        with_logins(&stage, async |logins| {
            let settings = logins.settings();
            let up = stage.start_with(&["up"], &settings)?;
            let synced = stage.tidemark(&["sync", "--all", "--wait"]).await?;
            ensure!(synced.code == 0, "{synced:?}");
            stage.assert_equal(&tenants).await?;
            let healthy = doctor(&stage, &settings).await?;
            ensure!(healthy.code == 0, "{healthy:?}");
            ensure!(says(&healthy, ("ledger", "isolation", "ok"), ""), "{healthy:?}");
            ensure!(
                says(&healthy, ("fleet", "processes", "ok"), "every role"),
                "{healthy:?}"
            );
            let text = stage.tidemark_with(&["doctor"], &settings).await?;
            let prose: Vec<&str> = text
                .stdout
                .lines()
                .filter(|line| !line.trim_start().starts_with("$ "))
                .collect();
            ensure!(
                prose.len() > 10 && prose.iter().all(|line| line.chars().count() <= 80),
                "{text:?}"
            );
            ensure!(
                !text.stdout.contains('\x1b'),
                "colours without a terminal: {text:?}"
            );
            up.kill().await
        })
        .await
    })
    .await;
}

#[tokio::test]
async fn lost_rights_are_named_with_the_cure() {
    on_stage(async |stage| -> Result<()> {
        with_logins(&stage, async |logins| {
            let name = &logins.name;
            run(&stage.source, format!("REVOKE SELECT ON contacts FROM {name}")).await?;
            let cure = format!("GRANT SELECT ON contacts TO {name};");
            assert_error(&stage, logins, ("source main", "rights"), &cure).await?;
            run(&stage.source, cure).await?;

            let disable = "ALTER TABLE etl_chunk DISABLE ROW LEVEL SECURITY";
            run(&stage.target, disable.to_owned()).await?;
            assert_error(&stage, logins, ("ledger", "isolation"), "etl_chunk").await?;
            run(&stage.target, disable.replace("DISABLE", "ENABLE")).await?;

            run(&stage.target, format!("REVOKE etl_service FROM {name}")).await?;
            let answer = assert_error(&stage, logins, ("ledger", "rights"), "GRANT etl_service TO").await?;
            ensure!(
                says(&answer, ("source main", "rights", "ok"), ""),
                "the source was not checked: {answer:?}"
            );
            Ok(())
        })
        .await
    })
    .await;
}

#[tokio::test]
async fn what_a_fleet_lacks_is_named_with_the_command() {
    on_stage(async |stage| -> Result<()> {
        stage.sample(20, 2, 6).await?;
        stage.sync_local(&["--all"]).await?;
        run(
            &stage.target,
            "INSERT INTO tenants (id, name, slug, source) VALUES (7, 'New', 'new', 'elsewhere'); \
             INSERT INTO etl_rejected_row (tenant_id, conversation_id, run_id, chunk_seq, side, error) \
             VALUES (1, 1, 1, 1, 'source', 'test')"
                .to_owned(),
        )
        .await?;
        let answer = doctor(&stage, &[]).await?;
        for (check, level, part) in [
            ("processes", "warning", "tidemark up"),
            ("verified", "warning", "tidemark verify --all"),
            ("rejects", "warning", "tenant 1 (1)"),
            ("tenants", "error", "elsewhere"),
            ("tenants", "warning", "tidemark inbox map --tenant 7"),
        ] {
            ensure!(
                says(&answer, ("fleet", check, level), part),
                "{check} {part}: {answer:?}"
            );
        }
        Ok(())
    })
    .await;
}

/// Inserts enough messages for indexes, statistics and the cost of a view to matter.
async fn fill(stage: &Stage) -> Result<()> {
    run(
        &stage.source,
        "INSERT INTO messages (content, account_id, inbox_id, conversation_id, message_type, created_at, updated_at) \
         SELECT repeat('x', 1900), c.account_id, c.inbox_id, c.id, 0, c.created_at, c.created_at \
         FROM generate_series(1, 180) AS n, conversations c WHERE c.id <= 100; ANALYZE"
            .to_owned(),
    )
    .await
}

#[tokio::test]
async fn an_index_on_times_is_asked_for_only_where_digests_are_compared_now_and_then() {
    on_stage(async |stage| -> Result<()> {
        stage.sample(120, 1, 9).await?;
        with_logins(&stage, async |logins| {
            let always = logins.settings();
            let hourly = [&always[..], &[("TIDEMARK_PRODUCER_DIGEST_INTERVAL", "1h")]].concat();
            run(
                &stage.source,
                "INSERT INTO conversations (account_id, inbox_id, status, display_id, custom_attributes, created_at, updated_at) \
                 SELECT account_id, inbox_id, 1, -n, jsonb_build_object('x', repeat(md5(n::text), 40)), created_at, created_at \
                 FROM (SELECT * FROM conversations LIMIT 1) c, generate_series(1, 25000) AS n; ANALYZE"
                    .to_owned(),
            )
            .await?;
            let answer = doctor(&stage, &always).await?;
            ensure!(says(&answer, INDEX_OK, ""), "{answer:?}");
            let create = "CREATE INDEX CONCURRENTLY ON conversations (greatest(";
            let answer = doctor(&stage, &hourly).await?;
            ensure!(says(&answer, INDEX_MISSING, create), "{answer:?}");

            let todo = said(&answer, "source main", "index").remove(0).todo;
            run(&stage.source, todo.replace("CONCURRENTLY ", "")).await?;
            let answer = doctor(&stage, &hourly).await?;
            ensure!(says(&answer, INDEX_OK, ""), "{answer:?}");
            Ok(())
        })
        .await
    })
    .await;
}

/// Drops every index on messages that begins with their conversation.
async fn drop_message_indexes(stage: &Stage) -> Result<()> {
    let indexes: Vec<String> = sqlx::query_scalar(
        "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_attribute a ON attrelid = indrelid AND attnum = indkey[0] \
         WHERE indrelid = 'messages'::regclass AND attname = 'conversation_id'",
    )
    .fetch_all(&stage.source)
    .await?;
    ensure!(indexes.len() == 2, "{indexes:?}");
    run(&stage.source, format!("DROP INDEX {}", indexes.join(", "))).await
}

#[tokio::test]
async fn a_missing_index_a_costly_view_and_missing_statistics_are_found() {
    on_stage(async |stage| -> Result<()> {
        stage.sample(120, 1, 9).await?;
        fill(&stage).await?;
        with_logins(&stage, async |logins| {
            let tables = logins.settings();
            let view = [("TIDEMARK_SOURCE_MODE", "view"), ("TIDEMARK_SOURCE_VIEW", VIEW)];
            let view = [&tables[..], &view].concat();
            let answer = doctor(&stage, &view).await?;
            ensure!(
                says(&answer, ("source main", "view cost", "ok"), ""),
                "{answer:?}"
            );
            drop_message_indexes(&stage).await?;
            let create = "CREATE INDEX CONCURRENTLY ON messages (conversation_id);";
            let answer = doctor(&stage, &tables).await?;
            ensure!(
                answer.code == 2 && says(&answer, INDEX_MISSING, create),
                "{answer:?}"
            );

            // a failed build leaves an index that nothing can use
            let failed = stage
                .source
                .execute("CREATE UNIQUE INDEX CONCURRENTLY half ON messages (conversation_id)")
                .await;
            ensure!(failed.is_err(), "conversations have several messages");
            let answer = doctor(&stage, &view).await?;
            let drop = "DROP INDEX CONCURRENTLY half;\nCREATE INDEX";
            ensure!(says(&answer, INDEX_MISSING, drop), "{answer:?}");
            let cost = ("source main", "view cost", "warning");
            ensure!(says(&answer, cost, "each conversation"), "{answer:?}");

            let without_statistics = format!(
                "CREATE TABLE copied AS TABLE messages; DROP TABLE messages CASCADE; \
                 ALTER TABLE copied RENAME TO messages; GRANT SELECT ON messages TO {}",
                logins.name
            );
            run(&stage.source, without_statistics).await?;
            let answer = doctor(&stage, &tables).await?;
            let statistics = ("source main", "statistics", "warning");
            ensure!(says(&answer, statistics, "ANALYZE messages;"), "{answer:?}");
            Ok(())
        })
        .await
    })
    .await;
}

#[tokio::test]
async fn an_old_writer_and_a_restored_source_are_found() {
    on_stage(async |stage| -> Result<()> {
        stage.sample(20, 1, 9).await?;
        with_logins(&stage, async |logins| {
            // the login may not see when the writer began: the fence that a producer saw last shows it
            let mut writer = PgConnection::connect(&stage.url("source")).await?;
            writer.execute("BEGIN; UPDATE inboxes SET name = name").await?;
            run(
                &stage.target,
                "INSERT INTO etl_source_watch (source, looked_at, fence_at) VALUES ('main', now(), now() - interval '1 hour')"
                    .to_owned(),
            )
            .await?;
            let answer = doctor(&stage, &logins.settings()).await?;
            let fence = ("source main", "fence", "warning");
            ensure!(says(&answer, fence, "pg_terminate_backend"), "{answer:?}");
            writer.execute("ROLLBACK").await?;

            let restored = "INSERT INTO etl_source (name, highest_xmax) VALUES ('main', 900000000000)";
            run(&stage.target, restored.to_owned()).await?;
            assert_error(&stage, logins, ("source main", "fence"), "accept-restore").await?;
            Ok(())
        })
        .await
    })
    .await;
}

#[tokio::test]
async fn a_source_that_is_away_hides_no_other_server() {
    on_stage(|stage| async move {
        let nowhere = "postgres://u:s3cret@127.0.0.1:1/nowhere";
        let answer = doctor(&stage, &[("TIDEMARK_SOURCE_URL", nowhere)]).await?;
        ensure!(
            answer.code == 1 && says(&answer, ("source main", "connection", "error"), "127.0.0.1:1"),
            "{answer:?}"
        );
        ensure!(says(&answer, ("ledger", "migrations", "ok"), ""), "{answer:?}");
        ensure!(says(&answer, ("broker", "connection", "ok"), ""), "{answer:?}");

        let nobody = stage.url("source").replace("_source", "_nowhere");
        let answer = doctor(&stage, &[("TIDEMARK_SOURCE_URL", &nobody)]).await?;
        ensure!(
            says(&answer, ("source main", "connection", "error"), "3D000"),
            "{answer:?}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_ledger_without_tables_hides_no_other_server() {
    on_stage(|stage| async move {
        let answer = doctor(&stage, &[("TIDEMARK_DATABASE_URL", &stage.url("source"))]).await?;
        ensure!(
            answer.code == 1 && says(&answer, ("ledger", "migrations", "error"), "tidemark migrate"),
            "{answer:?}"
        );
        ensure!(says(&answer, ("fleet", "fleet", "not_checked"), ""), "{answer:?}");
        ensure!(
            says(&answer, ("source main", "version", "ok"), "PostgreSQL"),
            "{answer:?}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_refuses_the_login_hides_no_other_server() {
    on_stage(|stage| async move {
        let mut broker = url::Url::parse(stage.amqp_url())?;
        ensure!(
            broker.set_password(Some("s3cret")).is_ok(),
            "a URL takes a password"
        );
        let answer = doctor(&stage, &[("TIDEMARK_AMQP_URL", broker.as_str())]).await?;
        ensure!(
            answer.code == 1 && says(&answer, ("broker", "connection", "error"), "log in"),
            "{answer:?}"
        );
        ensure!(says(&answer, ("source main", "version", "ok"), ""), "{answer:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn queues_of_another_kind_and_policies_that_drop_are_found() {
    on_stage(|stage| async move {
        let answer = doctor(&stage, &[]).await?;
        ensure!(
            says(&answer, ("broker", "queues", "ok"), "do not exist yet"),
            "{answer:?}"
        );
        ensure!(answer.stderr.is_empty(), "{answer:?}");
        ensure!(
            stage.consumers("events").await? == 0,
            "a check-up has declared a queue"
        );
        stage.declare_classic_queue("events").await?;
        let answer = doctor(&stage, &[("TIDEMARK_AMQP_MANAGEMENT_URL", "http://127.0.0.1:1")]).await?;
        ensure!(
            answer.code == 1 && says(&answer, ("broker", "queues", "error"), "rabbitmqctl delete_queue"),
            "{answer:?}"
        );
        ensure!(
            says(&answer, ("broker", "policies", "not_checked"), "127.0.0.1:1"),
            "{answer:?}"
        );
        if let Some(management) = stage.management_url() {
            let answer = doctor(&stage, &[("TIDEMARK_AMQP_MANAGEMENT_URL", &management)]).await?;
            ensure!(
                says(&answer, ("broker", "version", "ok"), "RabbitMQ"),
                "{answer:?}"
            );
            ensure!(
                says(&answer, ("broker", "timeout", "not_checked"), ""),
                "{answer:?}"
            );
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn settings_are_shown_without_their_secrets_and_what_is_missing_is_named() {
    on_stage(|stage| async move {
        let url = "postgres://u:s3cret@db.example:5433/analytics";
        let answer = stage
            .tidemark_with(
                &["config", "check", "--json"],
                &[("TIDEMARK_DATABASE_URL", url), ("TIDEMARK_AMQP_URL", "")],
            )
            .await?;
        ensure!(
            answer.code == 78 && !answer.stdout.contains("s3cret"),
            "{answer:?}"
        );
        let report = answer.json();
        let settings = report["settings"].as_array().context("settings")?;
        ensure!(
            settings
                .iter()
                .any(|one| one["name"] == "database_url" && one["value"] == "db.example:5433/analytics"),
            "{report:#}"
        );
        ensure!(
            report["problems"][0]
                .as_str()
                .is_some_and(|text| text.contains("TIDEMARK_AMQP_URL")),
            "{report:#}"
        );
        let answer = stage.tidemark(&["config", "check"]).await?;
        ensure!(answer.code == 0, "{answer:?}");
        Ok(())
    })
    .await;
}
