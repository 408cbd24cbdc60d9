//! The feed of changed conversations: `changes_since`, its order, its retention, and consumers that write beside the rows.

mod enrichment;
mod follower;
mod seeds;

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, raw_sql};

use self::follower::{Follower, Named, Step};
use crate::stage::{Fleet, Process, Stage, WAIT_LIMIT, on_stage};

/// A dashboard's session of tenant 1.
async fn reader(stage: &Stage) -> Result<PgConnection> {
    let mut connection = PgConnection::connect(&stage.owner_url("target")).await?;
    raw_sql("SET ROLE authenticated_users; SET app.current_tenant_id = '1'")
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

/// Live rows of tenant 1, as a follower has them.
async fn live(stage: &Stage) -> Result<std::collections::BTreeMap<i64, String>> {
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "SELECT conversation_id, encode(row_hash, 'hex') FROM conversations_analytics WHERE tenant_id = 1 AND source_deleted_at IS NULL",
    )
    .fetch_all(&stage.target)
    .await?;
    Ok(rows.into_iter().collect())
}

/// The changes since the last call, which must be in their order and not have come before.
async fn news(follower: &mut Follower, connection: &mut PgConnection) -> Result<Vec<Named>> {
    let mut all = Vec::new();
    loop {
        match follower.step(connection, 7).await? {
            Step::Read(changes) if changes.is_empty() => return Ok(all),
            Step::Read(changes) => all.extend(changes),
            Step::Again => anyhow::bail!("the cursor is of no use"),
        }
    }
}

#[tokio::test]
async fn the_feed_names_each_change_once_with_what_changed() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 51).await?;
        stage.sync_local(&["--all"]).await?;
        let mut connection = reader(&stage).await?;
        let mut follower = Follower::new(1);
        let listed = news(&mut follower, &mut connection).await?;
        ensure!(listed.len() == 60 && listed.iter().all(|(_, kind, columns)| kind == "existing" && columns.is_none()), "{listed:?}");
        ensure!(follower.rows == live(&stage).await?);

        // nothing has changed, and a resync of everything finds that
        stage.sync_local(&["--all", "--full"]).await?;
        ensure!(news(&mut follower, &mut connection).await?.is_empty());

        let ids: Vec<i64> = follower.rows.keys().copied().collect();
        let (edited, written, gone) = (ids[0], ids[1], ids[2]);
        stage
            .source
            .execute(AssertSqlSafe(format!(
                "UPDATE conversations SET priority = 3 - coalesce(priority, 0), updated_at = now() AT TIME ZONE 'UTC' WHERE id = {edited}; \
                 UPDATE messages SET content = 'another text of this message', updated_at = now() AT TIME ZONE 'UTC' \
                 WHERE id = (SELECT min(id) FROM messages WHERE conversation_id = {written} AND NOT private); \
                 DELETE FROM messages WHERE conversation_id = {gone}; DELETE FROM csat_survey_responses WHERE conversation_id = {gone}; \
                 DELETE FROM conversations WHERE id = {gone}"
            )))
            .await?;
        stage.sync_local(&["--all"]).await?;
        let changed = news(&mut follower, &mut connection).await?;
        let of = |id: i64| changed.iter().find(|(one, ..)| *one == id).map(|(_, kind, columns)| (kind.as_str(), columns));
        let has = |id: i64, column: &str| {
            matches!(of(id), Some(("updated", Some(columns))) if columns.iter().any(|one| one == column))
        };
        ensure!(changed.len() == 3, "{changed:?}");
        ensure!(has(edited, "priority") && has(edited, "priority_label") && !has(edited, "message_compiled"), "{changed:?}");
        ensure!(has(written, "message_compiled") && !has(written, "priority"), "{changed:?}");
        ensure!(of(gone) == Some(("deleted", &None)), "{changed:?}");
        ensure!(follower.rows == live(&stage).await?);

        // it comes back, and that is another conversation to a reader
        stage
            .source
            .execute(AssertSqlSafe(format!(
                "INSERT INTO conversations (id, account_id, inbox_id, status, display_id, created_at, updated_at, last_activity_at, contact_id, uuid) \
                 SELECT {gone}, account_id, inbox_id, 0, 999999, created_at, now() AT TIME ZONE 'UTC', last_activity_at, contact_id, gen_random_uuid() \
                 FROM conversations WHERE id = {edited}"
            )))
            .await?;
        stage.sync_local(&["--all"]).await?;
        let back = news(&mut follower, &mut connection).await?;
        ensure!(back == [(gone, "inserted".to_owned(), None)], "{back:?}");

        // what commands change by themselves
        let contact: i64 = sqlx::query_scalar("SELECT contact_id FROM conversations_analytics WHERE tenant_id = 1 AND conversation_id = $1")
            .bind(edited)
            .fetch_one(&stage.target)
            .await?;
        let forgotten = stage
            .tidemark(&["tenant", "forget", "--tenant", "1", "--contact", &contact.to_string(), "--yes", "--reason", "asked"])
            .await?;
        ensure!(forgotten.code == 0, "{forgotten:?}");
        let removed = news(&mut follower, &mut connection).await?;
        ensure!(removed.iter().any(|(id, kind, _)| *id == edited && kind == "deleted"), "{removed:?}");
        ensure!(follower.rows == live(&stage).await?);
        // another tenant's feed is not there
        let refused = sqlx::query("SELECT * FROM changes_since(2)").fetch_all(&mut connection).await;
        ensure!(refused.is_err_and(|error| error.to_string().contains("not visible")));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_tenant_that_moves_is_gone_from_the_feed_and_comes_back_from_its_new_source() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 52).await?;
        stage.sync_local(&["--all"]).await?;
        let mut connection = reader(&stage).await?;
        let mut follower = Follower::new(1);
        news(&mut follower, &mut connection).await?;
        let file = std::env::temp_dir().join(format!("{}.toml", stage.database("moves")));
        std::fs::write(
            &file,
            format!("[sources.second]\nurl = \"{}\"\n", stage.url("source")),
        )?;
        let config = file.to_str().context("a path")?;
        let moved = stage
            .tidemark(&[
                "--config",
                config,
                "tenant",
                "move",
                "--tenant",
                "1",
                "--source",
                "second",
                "--account-id",
                "1",
                "--reason",
                "try",
            ])
            .await?;
        ensure!(moved.code == 0, "{moved:?}");
        let gone = news(&mut follower, &mut connection).await?;
        ensure!(
            gone.len() == 40 && gone.iter().all(|(_, kind, _)| kind == "deleted"),
            "{gone:?}"
        );
        ensure!(follower.rows.is_empty());
        let synced = stage
            .tidemark(&["--config", config, "sync", "--local", "--tenant", "1"])
            .await?;
        ensure!(synced.code == 0, "{synced:?}");
        let back = news(&mut follower, &mut connection).await?;
        ensure!(
            back.len() == 40 && back.iter().all(|(_, kind, _)| kind == "inserted"),
            "{back:?}"
        );
        ensure!(follower.rows == live(&stage).await?);
        Ok(())
    })
    .await;
}

/// The SQLSTATE of a call, or nothing.
async fn refusal(connection: &mut PgConnection, cursor: &str) -> Option<String> {
    let outcome = sqlx::query("SELECT * FROM changes_since(1, $1)")
        .bind(cursor)
        .fetch_all(connection)
        .await;
    outcome
        .err()?
        .as_database_error()?
        .code()
        .map(std::borrow::Cow::into_owned)
}

#[tokio::test]
async fn a_cursor_that_lacks_something_is_refused_and_never_passed_over() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 53).await?;
        stage.sync_local(&["--all"]).await?;
        let mut connection = reader(&stage).await?;
        let mut follower = Follower::new(1);
        // in the middle of the first list
        follower.step(&mut connection, 20).await?;
        let listing = follower.cursor.clone().context("a cursor")?;
        news(&mut follower, &mut connection).await?;
        let read = follower.cursor.clone().context("a cursor")?;
        let touch = "UPDATE conversations SET snoozed_until = coalesce(snoozed_until, '2020-01-01') + interval '1 day', \
                     updated_at = now() AT TIME ZONE 'UTC'";
        stage.source.execute(touch).await?;
        stage.sync_local(&["--all"]).await?;
        let before = stage.tidemark(&["prune", "--json"]).await?.json();
        ensure!(before["changes"] == 0 && refusal(&mut connection, &read).await.is_none(), "{before:#}");

        stage.target.execute("UPDATE conversation_change SET changed_at = now() - interval '31 days'").await?;
        let dry = stage.tidemark(&["prune", "--dry-run", "--json"]).await?.json();
        let pruned = stage.tidemark(&["prune", "--json"]).await?.json();
        ensure!(dry == pruned && pruned["changes"] == 120, "{dry:#} {pruned:#}");
        for old in [&listing, &read] {
            ensure!(refusal(&mut connection, old).await.as_deref() == Some("TF410"), "{old}");
        }
        // a reader that was at the end goes on, and one that starts again has everything
        let feed = read.split(':').next().unwrap_or_default();
        let newest: i64 = sqlx::query_scalar("SELECT pruned_to FROM conversation_feed WHERE tenant_id = 1")
            .fetch_one(&stage.target)
            .await?;
        ensure!(refusal(&mut connection, &format!("{feed}:{newest}")).await.is_none());
        let mut again = Follower::new(1);
        news(&mut again, &mut connection).await?;
        ensure!(again.rows == live(&stage).await?);

        // the database is another one, or was put back
        ensure!(refusal(&mut connection, &format!("{feed}:{}", newest + 1)).await.as_deref() == Some("TF410"));
        ensure!(refusal(&mut connection, &format!("00000000:{newest}")).await.as_deref() == Some("TF410"));
        for wrong in ["", "1", "x:1", "00000000:-1", "00000000:1:2:3", "00000000:9999999999999999999"] {
            ensure!(refusal(&mut connection, wrong).await.as_deref() == Some("22023"), "{wrong}");
        }
        ensure!(sqlx::query("SELECT * FROM changes_since(1, NULL, 0)").fetch_all(&mut connection).await.is_err());
        Ok(())
    })
    .await;
}

/// Changes the source, kills a worker and prunes while runs are under way, and follows the feed until they have ended.
async fn disturb(
    stage: &Stage,
    fleet: &mut Fleet<'_>,
    victim: Process,
    follower: &mut Follower,
    connection: &mut PgConnection,
) -> Result<()> {
    let mut killed = Some(victim);
    let mut rounds = 0;
    loop {
        follower.step(connection, 13).await?;
        let done: i64 = sqlx::query_scalar("SELECT count(*) FROM etl_chunk WHERE status = 'done'")
            .fetch_one(&stage.target)
            .await?;
        if done > 5
            && let Some(victim) = killed.take()
        {
            victim.kill().await?;
            fleet.add("worker")?;
        }
        let is_open: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM etl_control WHERE finished_at IS NULL)")
                .fetch_one(&stage.target)
                .await?;
        if is_open {
            continue;
        }
        rounds += 1;
        if rounds > 3 {
            break;
        }
        stage
            .source
            .execute(AssertSqlSafe(format!(
                "UPDATE conversations SET priority = {rounds}, updated_at = now() AT TIME ZONE 'UTC' WHERE id % 3 = {}; \
                 DELETE FROM csat_survey_responses WHERE conversation_id % 40 = {rounds}; \
                 DELETE FROM messages WHERE conversation_id % 40 = {rounds}; DELETE FROM conversations WHERE id % 40 = {rounds}",
                rounds % 3
            )))
            .await?;
        for request in [
            &["sync", "--tenant", "1"][..],
            &["resync", "--tenant", "1", "--all-rows"],
        ] {
            let asked = stage.tidemark(request).await?;
            ensure!(asked.code == 0, "{asked:?}");
        }
        if rounds == 2 {
            stage
                .target
                .execute("UPDATE conversation_change SET changed_at = now() - interval '31 days'")
                .await?;
            let pruned = stage.tidemark(&["prune"]).await?;
            ensure!(pruned.code == 0, "{pruned:?}");
        }
    }
    Ok(())
}

/// Concurrent loads, a killed worker, a resync beside an incremental, and pruning: whoever follows the feed has the target's rows.
#[tokio::test]
async fn a_consumer_that_only_follows_the_feed_of_a_fleet_ends_with_the_targets_rows() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 54).await?;
        let mut fleet = stage.fleet(&["producer", "finalizer", "worker"])?;
        let victim = stage.start(&["worker"])?;
        let run = stage.ask_full("10").await?;
        let mut connection = reader(&stage).await?;
        let mut follower = Follower::new(1);
        let work = disturb(&stage, &mut fleet, victim, &mut follower, &mut connection);
        tokio::time::timeout(WAIT_LIMIT, work)
            .await
            .context("the runs do not end")??;
        let ended = stage.tidemark(&["run", "watch", &run, "--json"]).await?;
        ensure!(ended.json()["status"] == "success", "{ended:?}");
        while !matches!(follower.step(&mut connection, 13).await?, Step::Read(changes) if changes.is_empty())
        {
        }
        ensure!(
            follower.rows == live(&stage).await?,
            "the consumer has other rows"
        );
        fleet.stop().await
    })
    .await;
}
