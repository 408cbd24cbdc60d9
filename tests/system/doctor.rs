//! The check-up: a healthy installation, and one thing after the other broken.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};

use crate::stage::{Answer, Stage, on_stage};
use crate::view::VIEW;

/// Logins that may do what the fleet needs, and no more.
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
        let target = format!("GRANT etl_service TO {name}");
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

/// What the doctor says of one thing.
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

/// Whether it says so, with this in its text or in what is to be done.
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

#[tokio::test]
async fn a_healthy_installation_has_nothing_to_say_and_lost_rights_are_named_with_the_cure() {
    on_stage(|stage| async move {
        let tenants = stage.sample(200, 2, 5).await?;
        let logins = Logins::create(&stage).await?;
        let settings = logins.settings();
        let outcome = async {
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
            let prose = text
                .stdout
                .lines()
                .filter(|line| !line.trim_start().starts_with("$ "));
            ensure!(
                prose.clone().count() > 10 && prose.clone().all(|line| line.chars().count() <= 80),
                "{text:?}"
            );
            ensure!(
                !text.stdout.contains('\x1b'),
                "colours where nobody sees them: {text:?}"
            );

            run(
                &stage.source,
                format!("REVOKE SELECT ON contacts FROM {}", logins.name),
            )
            .await?;
            let answer = doctor(&stage, &settings).await?;
            let cure = format!("GRANT SELECT ON contacts TO {};", logins.name);
            ensure!(
                answer.code == 1 && says(&answer, ("source main", "rights", "error"), &cure),
                "{answer:?}"
            );
            run(
                &stage.source,
                format!("GRANT SELECT ON contacts TO {}", logins.name),
            )
            .await?;

            run(
                &stage.target,
                "ALTER TABLE etl_chunk DISABLE ROW LEVEL SECURITY".to_owned(),
            )
            .await?;
            let answer = doctor(&stage, &settings).await?;
            ensure!(
                answer.code == 1 && says(&answer, ("ledger", "isolation", "error"), "etl_chunk"),
                "{answer:?}"
            );
            run(
                &stage.target,
                "ALTER TABLE etl_chunk ENABLE ROW LEVEL SECURITY".to_owned(),
            )
            .await?;

            run(&stage.target, format!("REVOKE etl_service FROM {}", logins.name)).await?;
            let answer = doctor(&stage, &settings).await?;
            let cure = "GRANT etl_service TO";
            ensure!(
                answer.code == 1 && says(&answer, ("ledger", "rights", "error"), cure),
                "{answer:?}"
            );
            // what else there is is looked at all the same
            ensure!(says(&answer, ("source main", "rights", "ok"), ""), "{answer:?}");
            run(&stage.target, format!("GRANT etl_service TO {}", logins.name)).await?;
            drop(up);

            run(
                &stage.target,
                "DELETE FROM etl_process; DELETE FROM etl_verification".to_owned(),
            )
            .await?;
            run(
                &stage.target,
                "INSERT INTO tenants (id, name, slug, source) VALUES (7, 'New', 'new', 'elsewhere'); \
                 INSERT INTO etl_rejected_row (tenant_id, conversation_id, run_id, chunk_seq, side, error) \
                 VALUES (1, 1, 1, 1, 'source', 'test')"
                    .to_owned(),
            )
            .await?;
            let answer = doctor(&stage, &settings).await?;
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
        }
        .await;
        logins.drop(&stage).await?;
        outcome
    })
    .await;
}

/// Enough messages for indexes, statistics and the cost of a view to matter.
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
async fn missing_indexes_dear_views_and_an_old_writer_at_the_source_are_found() {
    on_stage(|stage| async move {
        stage.sample(120, 1, 9).await?;
        fill(&stage).await?;
        let logins = Logins::create(&stage).await?;
        let outcome = async {
            let settings = logins.settings();
            let of_view = [&settings[..], &[("TIDEMARK_SOURCE_MODE", "view"), ("TIDEMARK_SOURCE_VIEW", VIEW)]].concat();
            let answer = doctor(&stage, &settings).await?;
            ensure!(says(&answer, ("source main", "index", "ok"), ""), "{answer:?}");
            let answer = doctor(&stage, &of_view).await?;
            ensure!(says(&answer, ("source main", "view cost", "ok"), ""), "{answer:?}");

            // where digests are not compared each time, an index finds what has changed
            let now_and_then = [&settings[..], &[("TIDEMARK_PRODUCER_DIGEST_INTERVAL", "1h")]].concat();
            run(
                &stage.source,
                "INSERT INTO conversations (account_id, inbox_id, status, display_id, custom_attributes, created_at, updated_at) \
                 SELECT account_id, inbox_id, 1, -n, jsonb_build_object('x', repeat(md5(n::text), 40)), created_at, created_at \
                 FROM (SELECT * FROM conversations LIMIT 1) c, generate_series(1, 25000) AS n; ANALYZE conversations"
                    .to_owned(),
            )
            .await?;
            let answer = doctor(&stage, &settings).await?;
            ensure!(says(&answer, ("source main", "index", "ok"), ""), "{answer:?}");
            let create = "CREATE INDEX CONCURRENTLY ON conversations (greatest(";
            let answer = doctor(&stage, &now_and_then).await?;
            ensure!(says(&answer, ("source main", "index", "warning"), create), "{answer:?}");
            let todo = said(&answer, "source main", "index").remove(0).todo;
            run(&stage.source, todo.replace("CONCURRENTLY ", "")).await?;
            let answer = doctor(&stage, &now_and_then).await?;
            ensure!(says(&answer, ("source main", "index", "ok"), ""), "{answer:?}");

            let begin_with_it: Vec<String> = sqlx::query_scalar(
                "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_attribute a ON attrelid = indrelid AND attnum = indkey[0] \
                 WHERE indrelid = 'messages'::regclass AND attname = 'conversation_id'",
            )
            .fetch_all(&stage.source)
            .await?;
            ensure!(begin_with_it.len() == 2, "{begin_with_it:?}");
            run(&stage.source, format!("DROP INDEX {}", begin_with_it.join(", "))).await?;
            let create = "CREATE INDEX CONCURRENTLY ON messages (conversation_id);";
            let answer = doctor(&stage, &settings).await?;
            ensure!(answer.code == 2 && says(&answer, ("source main", "index", "warning"), create), "{answer:?}");
            // one that failed half-way is there, and no good
            let failed = stage.source.execute("CREATE UNIQUE INDEX CONCURRENTLY half ON messages (conversation_id)").await;
            ensure!(failed.is_err(), "conversations have several messages");
            let answer = doctor(&stage, &of_view).await?;
            let drop = "DROP INDEX CONCURRENTLY half;\nCREATE INDEX";
            ensure!(says(&answer, ("source main", "index", "warning"), drop), "{answer:?}");
            ensure!(says(&answer, ("source main", "view cost", "warning"), "each conversation"), "{answer:?}");

            run(&stage.source, format!("CREATE TABLE copied AS TABLE messages; DROP TABLE messages CASCADE; \
                ALTER TABLE copied RENAME TO messages; GRANT SELECT ON messages TO {}", logins.name)).await?;
            let answer = doctor(&stage, &settings).await?;
            ensure!(says(&answer, ("source main", "statistics", "warning"), "ANALYZE messages;"), "{answer:?}");

            // whose beginning the login may not see: what a producer saw last tells
            let mut writer = PgConnection::connect(&stage.url("source")).await?;
            writer.execute("BEGIN; UPDATE inboxes SET name = name").await?;
            run(
                &stage.target,
                "INSERT INTO etl_source_watch (source, looked_at, fence_at) VALUES ('main', now(), now() - interval '1 hour')"
                    .to_owned(),
            )
            .await?;
            let answer = doctor(&stage, &settings).await?;
            ensure!(says(&answer, ("source main", "fence", "warning"), "pg_terminate_backend"), "{answer:?}");
            writer.execute("ROLLBACK").await?;
            run(&stage.target, "INSERT INTO etl_source (name, highest_xmax) VALUES ('main', 900000000000)".to_owned()).await?;
            let answer = doctor(&stage, &settings).await?;
            ensure!(answer.code == 1 && says(&answer, ("source main", "fence", "error"), "accept-restore"), "{answer:?}");
            Ok(())
        }
        .await;
        logins.drop(&stage).await?;
        outcome
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_away_or_refuses_hides_no_other() {
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
        stage.declare_classic("events").await?;
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
