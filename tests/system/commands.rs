//! Bad input gives a clear error, the right exit code, and writes nothing.

use anyhow::{Result, ensure};
use sqlx::Executor;

use crate::stage::{Answer, Stage, on_stage};

/// Nothing listens on the discard port of the loopback interface.
const NOWHERE: &str = "127.0.0.1:9";

fn refused(answer: &Answer, code: i32, words: &[&str]) -> Result<()> {
    ensure!(
        answer.code == code,
        "exit code {} instead of {code}: {answer:?}",
        answer.code
    );
    for word in words {
        ensure!(answer.stderr.contains(word), "`{word}` is not in {answer:?}");
    }
    ensure!(answer.stdout.is_empty(), "an error is no data: {answer:?}");
    Ok(())
}

async fn nothing_was_asked_for(stage: &Stage) -> Result<()> {
    let runs: i64 = sqlx::query_scalar("SELECT count(*) FROM etl_control")
        .fetch_one(&stage.target)
        .await?;
    ensure!(runs == 0, "{runs} runs were written");
    Ok(())
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_a_usage_error() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 1).await?;
        for (args, words) in [
            (
                ["sync", "--tenant", "7"].as_slice(),
                ["there is no tenant 7", "tenant list"].as_slice(),
            ),
            (&["sync", "--tenant", "1 OR 1=1"], &["--tenant"]),
            (&["sync"], &["--tenant"]),
            (&["sync", "--tenant", "1", "--all"], &["--all"]),
            (&["sync", "--tenant", "1", "--chunk-size", "0"], &["--chunk-size"]),
            (
                &["sync", "--tenant", "1", "--chunk-size", "1000000000"],
                &["--chunk-size"],
            ),
            (&["run", "show", "99"], &["there is no run 99"]),
            (
                &["tenant", "add", "--id", "1", "--name", "Again"],
                &["there is a tenant 1 already"],
            ),
            (&["tenant", "add", "--id", "0", "--name", "Zero"], &["positive"]),
            (
                &[
                    "tenant",
                    "add",
                    "--id",
                    "9",
                    "--name",
                    "Mars",
                    "--timezone",
                    "Mars/Base",
                ],
                &["IANA"],
            ),
            (
                &["inbox", "map", "--tenant", "7", "--inbox", "1"],
                &["there is no tenant 7"],
            ),
            (&["inbox", "map", "--tenant", "1", "--inbox", "one"], &["--inbox"]),
            (&["frobnicate"], &["frobnicate"]),
        ] {
            refused(&stage.tidemark(args).await?, 64, words)?;
        }
        nothing_was_asked_for(&stage).await
    })
    .await;
}

#[tokio::test]
async fn what_is_not_set_up_is_a_configuration_error_that_says_what_to_do() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 1).await?;
        let added = stage
            .tidemark(&["tenant", "add", "--id", "2", "--name", "Empty"])
            .await?;
        ensure!(added.code == 0, "{added:?}");
        refused(
            &stage.tidemark(&["sync", "--tenant", "2"]).await?,
            78,
            &["no inboxes", "inbox map"],
        )?;
        refused(
            &stage.tidemark(&["inbox", "discover", "--tenant", "2"]).await?,
            78,
            &["no account id"],
        )?;

        let unset = stage
            .tidemark_with(&["status"], &[("TIDEMARK_DATABASE_URL", "")])
            .await?;
        refused(&unset, 78, &["TIDEMARK_DATABASE_URL"])?;
        let elsewhere = ("TIDEMARK_SOURCE_URL", "mysql://root:s3cret@localhost/chatwoot");
        let wrong = stage
            .tidemark_with(&["sync", "--local", "--tenant", "1"], &[elsewhere])
            .await?;
        refused(&wrong, 78, &["source", "postgres://"])?;
        ensure!(!wrong.stderr.contains("s3cret"), "{wrong:?}");

        stage
            .source
            .execute("ALTER TABLE messages RENAME COLUMN content_type TO kind")
            .await?;
        stage.source.execute("ALTER TABLE users RENAME TO people").await?;
        let lacking = stage.tidemark(&["sync", "--local", "--tenant", "1"]).await?;
        refused(&lacking, 78, &["column messages.content_type", "table users"])?;

        stage
            .target
            .execute(
                "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)",
            )
            .await?;
        refused(
            &stage.tidemark(&["sync", "--tenant", "1"]).await?,
            78,
            &["not migrated", "tidemark migrate"],
        )?;
        nothing_was_asked_for(&stage).await
    })
    .await;
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_named_without_its_password() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 1).await?;
        let url = format!("postgres://user:s3cr%40t@{NOWHERE}/somewhere");
        let away = stage
            .tidemark_with(&["sync", "--tenant", "1"], &[("TIDEMARK_DATABASE_URL", &url)])
            .await?;
        refused(&away, 69, &[NOWHERE, "analytics database"])?;
        let source = stage
            .tidemark_with(
                &["sync", "--local", "--tenant", "1"],
                &[("TIDEMARK_SOURCE_URL", &url)],
            )
            .await?;
        refused(&source, 69, &[NOWHERE, "source"])?;
        for answer in [&away, &source] {
            ensure!(!answer.stderr.contains("s3cr"), "{answer:?}");
        }
        let missing = stage.url("target").replace("_target", "_nowhere");
        let unknown = stage
            .tidemark_with(&["status"], &[("TIDEMARK_DATABASE_URL", &missing)])
            .await?;
        refused(&unknown, 78, &["_nowhere", "3D000"])?;
        let amqp = ("TIDEMARK_AMQP_URL", "amqp://guest:wr0ng@localhost:bad");
        refused(
            &stage.tidemark_with(&["worker"], &[amqp]).await?,
            78,
            &["amqp://"],
        )?;
        nothing_was_asked_for(&stage).await
    })
    .await;
}

#[tokio::test]
async fn migrations_go_up_and_down_and_say_what_is_pending() {
    on_stage(|stage| async move {
        let up_to_date = stage.tidemark(&["migrate", "--check"]).await?;
        ensure!(up_to_date.code == 0 && up_to_date.stdout.is_empty(), "{up_to_date:?}");
        let down = stage.tidemark(&["migrate", "--down-to", "0"]).await?;
        ensure!(down.code == 0, "{down:?}");
        let left: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE '\\_sqlx%'",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(left == 0, "{left} relations are left");
        let pending = stage.tidemark(&["migrate", "--check"]).await?;
        ensure!(pending.code == 1 && pending.stdout.lines().count() >= 6, "{pending:?}");
        let up = stage.tidemark(&["migrate"]).await?;
        ensure!(up.code == 0, "{up:?}");
        stage.sample(50, 1, 1).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_closed_pipe_is_no_error_of_a_command() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 142).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        for args in [
            &["status"][..],
            &["tenant", "list"],
            &["tenant", "show", "--tenant", "1"],
            &["inbox", "list"],
            &["run", "list"],
            &["run", "show", "1"],
            &["chunk", "list"],
            &["rejected", "list"],
            &["watermark", "show"],
            &["dead", "list"],
            &["plan", "--tenant", "1"],
            &["verify", "--tenant", "1"],
            &["doctor"],
            &["config", "check"],
            &["migrate", "--check"],
            &["completions", "bash"],
            &["sync", "--local", "--tenant", "1"],
            &["--help"],
        ] {
            for json in [&[][..], &["--json"]] {
                let args = [args, json].concat();
                let ended = stage.tidemark_without_reader(&args).await?;
                let is_quiet = !["Broken pipe", "panicked", "nobody reads", "error:"]
                    .iter()
                    .any(|word| ended.stderr.contains(word));
                ensure!(ended.code == 0 && is_quiet, "{args:?}: {ended:?}");
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_needed_column_missing_at_the_source_is_a_configuration_error_of_every_command() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 143).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage
            .source
            .execute("ALTER TABLE conversations RENAME COLUMN display_id TO display_id_of_old")
            .await?;
        for args in [
            &["verify", "--tenant", "1"][..],
            &["verify", "--tenant", "1", "--deep"],
            &["plan", "--tenant", "1"],
            &["sync", "--local", "--tenant", "1"],
        ] {
            let refused = stage.tidemark(args).await?;
            ensure!(
                refused.code == 78 && refused.stderr.contains("display_id"),
                "{args:?}: {refused:?}"
            );
        }
        Ok(())
    })
    .await;
}
