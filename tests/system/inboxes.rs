//! Trap 26: inboxes that come and go in Chatwoot, accounts that several tenants share, and what is said about them.

use anyhow::{Result, ensure};
use serde_json::Value;
use sqlx::AssertSqlSafe;

use crate::stage::{Answer, Stage, on_stage};

const VIEW: &str = "vw_tidemark";

async fn done(stage: &Stage, args: &[&str]) -> Result<Answer> {
    let answer = stage.tidemark(args).await?;
    ensure!(answer.code == 0, "{args:?}: {answer:?}");
    Ok(answer)
}

async fn at_source(stage: &Stage, statement: &str) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&stage.source)
        .await?;
    Ok(())
}

async fn is_true(stage: &Stage, statement: &str) -> Result<bool> {
    Ok(sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_one(&stage.target)
        .await?)
}

/// Adds an inbox to an account, and gives it the oldest conversations of another inbox of that account.
async fn add_inbox(stage: &Stage, id: i32, account: i32, conversations: i32) -> Result<()> {
    at_source(
        stage,
        &format!(
            "INSERT INTO inboxes (id, channel_id, account_id, name, channel_type, timezone, created_at, updated_at) \
             SELECT {id}, channel_id, account_id, 'Desk {id}', channel_type, timezone, now(), now() \
             FROM inboxes WHERE account_id = {account} ORDER BY id LIMIT 1; \
             UPDATE conversations SET inbox_id = {id} WHERE id IN ( \
                 SELECT id FROM conversations WHERE account_id = {account} ORDER BY id LIMIT {conversations})"
        ),
    )
    .await
}

/// Deletes an inbox with its conversations, as Chatwoot does.
async fn delete_inbox(stage: &Stage, inbox: i32) -> Result<()> {
    at_source(
        stage,
        &format!(
            "DELETE FROM conversations WHERE inbox_id = {inbox}; DELETE FROM inboxes WHERE id = {inbox}"
        ),
    )
    .await
}

/// The tenant's inboxes by their number of conversations, the largest first.
async fn by_size(stage: &Stage, account: i32) -> Result<Vec<(i32, i64)>> {
    Ok(sqlx::query_as(
        "SELECT inbox_id, count(*) FROM conversations WHERE account_id = $1 GROUP BY 1 ORDER BY 2 DESC, 1",
    )
    .bind(account)
    .fetch_all(&stage.source)
    .await?)
}

async fn status(stage: &Stage) -> Result<Value> {
    Ok(done(stage, &["status", "--json"]).await?.json())
}

fn reasons(status: &Value) -> Vec<(i64, String)> {
    let unsynced = status["unsynced_inboxes"].as_array().cloned().unwrap_or_default();
    unsynced
        .iter()
        .map(|one| {
            let reason = one["reason"].as_str().unwrap_or_default();
            (one["inbox_id"].as_i64().unwrap_or_default(), reason.to_owned())
        })
        .collect()
}

/// Whether the doctor has a finding about inboxes with this level and text.
async fn doctor_says(stage: &Stage, level: &str, part: &str) -> Result<bool> {
    let answer = stage.tidemark(&["doctor", "--json"]).await?;
    let report = answer.json();
    let groups = report["groups"].as_array().cloned().unwrap_or_default();
    Ok(groups
        .iter()
        .filter_map(|group| group["findings"].as_array())
        .flatten()
        .any(|finding| {
            let found = finding["found"].as_str().unwrap_or_default();
            finding["check"] == "inboxes" && finding["level"] == level && found.contains(part)
        }))
}

#[tokio::test]
async fn a_new_inbox_of_the_account_is_mapped_by_the_next_plan_and_fetched() {
    on_stage(|stage| async move {
        stage.sample(400, 2, 91).await?;
        done(&stage, &["tenant", "set", "--tenant", "1", "--account-id", "1"]).await?;
        stage.sync_local(&["--all"]).await?;
        add_inbox(&stage, 901, 1, 40).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(
            is_true(
                &stage,
                "SELECT tenant_id = 1 AND is_active AND inbox_name = 'Desk 901' AND backfilled_at IS NOT NULL \
                 FROM inbox_tenant_mapping WHERE inbox_id = 901"
            )
            .await?
        );
        stage.assert_equal(&[1, 2]).await?;
        // the scheduler does the same, and plans both tenants together
        done(&stage, &["tenant", "set", "--tenant", "1", "--sync-interval", "1s"]).await?;
        done(&stage, &["tenant", "set", "--tenant", "2", "--sync-interval", "1s"]).await?;
        let up = stage.start(&["up"])?;
        add_inbox(&stage, 902, 1, 30).await?;
        stage
            .until(
                "SELECT count(*) = 1 FROM inbox_tenant_mapping \
                 WHERE inbox_id = 902 AND tenant_id = 1 AND backfilled_at IS NOT NULL",
            )
            .await?;
        up.stop().await?;
        stage.sync_local(&["--all"]).await?;
        stage.assert_equal(&[1, 2]).await
    })
    .await;
}

#[tokio::test]
async fn an_inbox_that_an_operator_unmapped_is_not_mapped_again() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 92).await?;
        done(&stage, &["tenant", "set", "--tenant", "1", "--account-id", "1"]).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let inbox = by_size(&stage, 1).await?[0].0;
        done(
            &stage,
            &["inbox", "unmap", "--tenant", "1", "--inbox", &inbox.to_string()],
        )
        .await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(
            is_true(
                &stage,
                &format!("SELECT NOT is_active FROM inbox_tenant_mapping WHERE inbox_id = {inbox}")
            )
            .await?
        );
        let said = status(&stage).await?;
        ensure!(
            reasons(&said) == [(i64::from(inbox), "unmapped".to_owned())],
            "{said:#}"
        );
        ensure!(doctor_says(&stage, "ok", "an operator unmapped it").await?);
        // mapped by hand, it is synced like the others
        done(
            &stage,
            &["inbox", "map", "--tenant", "1", "--inbox", &inbox.to_string()],
        )
        .await?;
        ensure!(reasons(&status(&stage).await?).is_empty());
        stage.sync_local(&["--tenant", "1"]).await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

/// Tenant 1 of account 1, which was added without the account and has synced, and an inbox that it does not have.
async fn a_tenant_without_its_account(stage: &Stage) -> Result<()> {
    stage.sample(200, 1, 93).await?;
    stage.sync_local(&["--tenant", "1"]).await?;
    add_inbox(stage, 901, 1, 10).await
}

async fn has_inbox(stage: &Stage, tenant: i32, inbox: i32) -> Result<bool> {
    is_true(
        stage,
        &format!("SELECT tenant_id = {tenant} FROM inbox_tenant_mapping WHERE inbox_id = {inbox}"),
    )
    .await
}

#[tokio::test]
async fn an_inbox_that_nobody_takes_is_named_with_its_command() {
    on_stage(|stage| async move {
        a_tenant_without_its_account(&stage).await?;
        let run = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(reasons(&status(&stage).await?) == [(901, "no_account".to_owned())]);
        ensure!(
            run["warnings"]
                .to_string()
                .contains("tenant set --tenant 1 --account-id 1"),
            "{run:#}"
        );
        ensure!(doctor_says(&stage, "warning", "inbox 901 `Desk 901` of account 1").await?);
        let verified = stage.tidemark(&["verify", "--tenant", "1"]).await?;
        ensure!(verified.stderr.contains("inbox 901"), "{verified:?}");
        let text = done(&stage, &["status"]).await?;
        ensure!(text.stdout.contains("inbox 901"), "{text:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn of_two_tenants_of_an_account_the_one_that_discovers_takes_a_new_inbox() {
    on_stage(|stage| async move {
        a_tenant_without_its_account(&stage).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let second = [
            "tenant",
            "add",
            "--id",
            "2",
            "--name",
            "Two",
            "--account-id",
            "1",
            "--discover",
            "off",
        ];
        done(&stage, &second).await?;
        ensure!(reasons(&status(&stage).await?) == [(901, "discover_off".to_owned())]);
        let first = [
            "tenant",
            "set",
            "--tenant",
            "1",
            "--account-id",
            "1",
            "--discover",
            "off",
        ];
        done(&stage, &first).await?;
        done(&stage, &["tenant", "set", "--tenant", "2", "--discover", "on"]).await?;
        ensure!(
            has_inbox(&stage, 2, 901).await?,
            "the only tenant that takes new inboxes"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_inbox_that_two_tenants_could_take_waits_until_one_of_them_is_chosen() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 93).await?;
        done(&stage, &["tenant", "set", "--tenant", "1", "--account-id", "1"]).await?;
        done(
            &stage,
            &["tenant", "add", "--id", "2", "--name", "Two", "--account-id", "1"],
        )
        .await?;
        add_inbox(&stage, 902, 1, 10).await?;
        let run = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(reasons(&status(&stage).await?) == [(902, "several_tenants".to_owned())]);
        ensure!(run["warnings"].to_string().contains("choose one"), "{run:#}");
        done(&stage, &["tenant", "set", "--tenant", "2", "--discover", "off"]).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(reasons(&status(&stage).await?).is_empty());
        ensure!(has_inbox(&stage, 1, 902).await?, "the tenant that was chosen");
        stage.assert_equal(&[1]).await
    })
    .await;
}

/// A sample of two accounts whose inboxes nobody has.
async fn without_tenants(stage: &Stage) -> Result<()> {
    stage.sample(200, 2, 94).await?;
    sqlx::query("DELETE FROM inbox_tenant_mapping")
        .execute(&stage.target)
        .await?;
    Ok(())
}

fn add_tenant<'a>(id: &'a str, account: &'a str) -> [&'a str; 8] {
    ["tenant", "add", "--id", id, "--name", id, "--account-id", account]
}

#[tokio::test]
async fn a_tenant_with_an_account_needs_no_mapping() {
    on_stage(|stage| async move {
        without_tenants(&stage).await?;
        let added = done(&stage, &add_tenant("11", "1")).await?;
        ensure!(added.stderr.contains("inboxes of account 1 mapped"), "{added:?}");
        ensure!(
            added.stderr.contains("next: tidemark sync --tenant 11"),
            "{added:?}"
        );
        stage.sync_local(&["--tenant", "11"]).await?;
        stage.assert_equal(&[11]).await?;
        // a source that is away now is asked by the first sync
        let away = [("TIDEMARK_SOURCE_URL", "postgres://nobody@127.0.0.1:9/none")];
        let added = stage.tidemark_with(&add_tenant("12", "2"), &away).await?;
        ensure!(
            added.code == 0 && added.stderr.contains("the next sync maps its inboxes"),
            "{added:?}"
        );
        stage.sync_local(&["--tenant", "12"]).await?;
        stage.assert_equal(&[12]).await
    })
    .await;
}

#[tokio::test]
async fn a_tenant_without_an_account_or_of_one_that_does_not_exist_is_told_what_to_do() {
    on_stage(|stage| async move {
        without_tenants(&stage).await?;
        let wrong = done(&stage, &add_tenant("13", "77")).await?;
        ensure!(wrong.stderr.contains("tidemark account list"), "{wrong:?}");
        let refused = stage
            .tidemark(&["sync", "--local", "--tenant", "13", "--json"])
            .await?;
        ensure!(
            refused.code != 0 && refused.stdout.contains("account 77"),
            "{refused:?}"
        );
        let bare = done(&stage, &["tenant", "add", "--id", "14", "--name", "Four"]).await?;
        ensure!(
            !bare.stderr.contains("1,2,3") && bare.stderr.contains("tidemark account list --source main"),
            "{bare:?}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn accounts_are_listed_with_their_inboxes_and_tenants() {
    on_stage(|stage| async move {
        without_tenants(&stage).await?;
        done(&stage, &add_tenant("11", "1")).await?;
        let listed = done(&stage, &["account", "list", "--source", "main", "--json"])
            .await?
            .json();
        let first = &listed[0];
        ensure!(
            first["account_id"] == 1
                && first["tenants"] == serde_json::json!([11])
                && first["inboxes"][0]["tenant_id"] == 11,
            "{first:#}"
        );
        ensure!(
            first["newest_activity_at"].is_string() && first["name"].is_string(),
            "{first:#}"
        );
        let total: i64 = listed
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one["conversations"].as_i64())
            .sum();
        ensure!(total == 200, "{listed:#}");
        let unknown = stage
            .tidemark(&["account", "list", "--source", "nowhere"])
            .await?;
        ensure!(unknown.code == 78, "{unknown:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_inbox_of_another_tenant_is_taken_only_from_that_tenant() {
    on_stage(|stage| async move {
        stage.sample(60, 2, 95).await?;
        let inbox = by_size(&stage, 2).await?[0].0.to_string();
        let map = ["inbox", "map", "--tenant", "1", "--inbox", &inbox];
        let refused = stage.tidemark(&map).await?;
        ensure!(
            refused.code == 64 && refused.stderr.contains("--from-tenant 2"),
            "{refused:?}"
        );
        let wrong = stage
            .tidemark(&[&map[..], &["--from-tenant", "1"]].concat())
            .await?;
        ensure!(wrong.code == 64, "{wrong:?}");
        let owner = format!("SELECT tenant_id = 2 FROM inbox_tenant_mapping WHERE inbox_id = {inbox}");
        ensure!(is_true(&stage, &owner).await?);
        let taken = done(&stage, &[&map[..], &["--from-tenant", "2"]].concat()).await?;
        ensure!(
            taken.stderr.contains("moved from tenant 2 to tenant 1"),
            "{taken:?}"
        );
        ensure!(!is_true(&stage, &owner).await?);
        Ok(())
    })
    .await;
}

/// The tenant's largest inbox is deleted at the source. The other inboxes are synced, and its rows wait for the operator.
async fn deletes_its_largest_inbox(stage: &Stage, settings: &[(&str, &str)]) -> Result<()> {
    stage.sample(900, 1, 96).await?;
    let sync = ["sync", "--local", "--tenant", "1", "--json"];
    let first = stage.tidemark_with(&sync, settings).await?;
    ensure!(first.code == 0, "{first:?}");
    let (inbox, rows) = by_size(stage, 1).await?[0];
    ensure!(rows > 50, "too few for the guard");
    delete_inbox(stage, inbox).await?;
    at_source(
        stage,
        "DELETE FROM conversations WHERE id = (SELECT min(id) FROM conversations); \
         UPDATE conversations SET priority = 2, updated_at = now() AT TIME ZONE 'UTC' \
         WHERE id = (SELECT max(id) FROM conversations)",
    )
    .await?;
    let unmap = format!("inbox unmap --tenant 1 --inbox {inbox}");
    let full = [&sync[..], &["--full"]].concat();
    for args in [&sync[..], &full[..]] {
        let partial = stage.tidemark_with(args, settings).await?;
        let run = partial.json();
        let error = run["error"].as_str().unwrap_or_default();
        ensure!(partial.code == 2 && run["status"] == "partial", "{partial:?}");
        ensure!(
            error.contains(&unmap) && error.contains(&format!("inbox {inbox}")),
            "{error}"
        );
        // the others are as at the source
        let live: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM conversations_analytics WHERE source_deleted_at IS NULL AND inbox_id <> $1",
        )
        .bind(inbox)
        .fetch_one(&stage.target)
        .await?;
        ensure!(
            live == 900 - rows - 1,
            "{live} rows of the other inboxes are live"
        );
        let kept = format!(
            "SELECT count(*) = {rows} FROM conversations_analytics WHERE source_deleted_at IS NULL AND inbox_id = {inbox}"
        );
        ensure!(is_true(stage, &kept).await?, "rows wait");
    }
    let said = status(stage).await?;
    let undecided = said["tenants"][0]["undecided"].as_str().unwrap_or_default();
    ensure!(undecided.contains(&unmap), "{said:#}");
    ensure!(said["tenants"][0]["gone_inboxes"][0]["rows"] == rows, "{said:#}");
    ensure!(doctor_says(stage, "warning", &unmap).await?);
    done(
        stage,
        &["inbox", "unmap", "--tenant", "1", "--inbox", &inbox.to_string()],
    )
    .await?;
    let last = stage.tidemark_with(&sync, settings).await?;
    ensure!(
        last.code == 0 && last.json()["records"]["deleted"] == rows,
        "{last:?}"
    );
    ensure!(status(stage).await?["tenants"][0]["undecided"].is_null());
    stage.assert_equal(&[1]).await
}

#[tokio::test]
async fn the_rows_of_a_deleted_inbox_wait_for_the_operator_and_the_others_go_on() {
    on_stage(|stage| async move { deletes_its_largest_inbox(&stage, &[]).await }).await;
}

#[tokio::test]
async fn a_view_shows_deleted_and_new_inboxes_by_their_conversations() {
    on_stage(|stage| async move {
        let view = [("TIDEMARK_SOURCE_MODE", "view"), ("TIDEMARK_SOURCE_VIEW", VIEW)];
        deletes_its_largest_inbox(&stage, &view).await?;
        let set = ["tenant", "set", "--tenant", "1", "--account-id", "1"];
        let set = stage.tidemark_with(&set, &view).await?;
        ensure!(set.code == 0, "{set:?}");
        add_inbox(&stage, 901, 1, 20).await?;
        // the mapping has changed, so this plan reads the whole view
        let sync = ["sync", "--local", "--full", "--tenant", "1"];
        let synced = stage.tidemark_with(&sync, &view).await?;
        ensure!(synced.code == 0, "{synced:?}");
        ensure!(
            is_true(
                &stage,
                "SELECT tenant_id = 1 FROM inbox_tenant_mapping WHERE inbox_id = 901"
            )
            .await?
        );
        let listed = stage.tidemark_with(&["account", "list", "--json"], &view).await?;
        ensure!(
            listed.code == 0 && listed.json()[0]["account_id"] == 1,
            "{listed:?}"
        );
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_small_inbox_just_goes_and_a_whole_account_is_decided_by_a_flag() {
    on_stage(|stage| async move {
        stage.sample(800, 2, 97).await?;
        stage.sync_local(&["--all"]).await?;
        // below the guard's limits
        at_source(&stage, "UPDATE conversations SET inbox_id = (SELECT min(inbox_id) FROM conversations WHERE account_id = 1) \
                           WHERE account_id = 1").await?;
        add_inbox(&stage, 901, 1, 20).await?;
        done(&stage, &["tenant", "set", "--tenant", "1", "--account-id", "1"]).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        delete_inbox(&stage, 901).await?;
        let run = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(run["records"]["deleted"] == 20 && run["error"].is_null(), "{run:#}");
        stage.assert_equal(&[1]).await?;
        ensure!(is_true(&stage, "SELECT gone_at IS NOT NULL FROM inbox_tenant_mapping WHERE inbox_id = 901").await?);

        at_source(&stage, "DELETE FROM conversations WHERE account_id = 1; DELETE FROM inboxes WHERE account_id = 1; \
                           DELETE FROM accounts WHERE id = 1").await?;
        let partial = stage.tidemark(&["sync", "--local", "--tenant", "1", "--json"]).await?;
        ensure!(partial.code == 2, "{partial:?}");
        let error = partial.json()["error"].as_str().unwrap_or_default().to_owned();
        ensure!(error.contains("inbox unmap") || error.contains("--allow-mass-delete"), "{error}");
        stage.sync_local(&["--tenant", "1", "--allow-mass-delete"]).await?;
        ensure!(status(&stage).await?["tenants"][0]["undecided"].is_null());
        ensure!(is_true(&stage, "SELECT count(*) = 0 FROM conversations_analytics WHERE tenant_id = 1 AND source_deleted_at IS NULL").await?);
        stage.assert_equal(&[2]).await
    })
    .await;
}
