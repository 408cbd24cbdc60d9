//! Resyncs of several tenants, from long lists, and as a dry run.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::stage::{Stage, on_stage};

async fn ids_of(stage: &Stage, tenant: i32) -> Result<Vec<i64>> {
    let inboxes: Vec<i32> =
        sqlx::query_scalar("SELECT inbox_id FROM inbox_tenant_mapping WHERE tenant_id = $1 ORDER BY 1")
            .bind(tenant)
            .fetch_all(&stage.target)
            .await?;
    Ok(
        sqlx::query_scalar("SELECT id::bigint FROM conversations WHERE inbox_id = ANY($1) ORDER BY id")
            .bind(inboxes)
            .fetch_all(&stage.source)
            .await?,
    )
}

fn listed(ids: &[i64], between: &str) -> String {
    ids.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(between)
}

async fn no_run(stage: &Stage) -> Result<()> {
    stage
        .until("SELECT count(*) = 0 FROM etl_control WHERE type = 'resync'")
        .await
}

/// Three synced tenants, and a list with five ids of the first, three of the second and one of nobody. The first id has gone
/// from the source since: its row still belongs to its tenant.
async fn a_list_of_two_tenants(stage: &Stage) -> Result<Vec<i64>> {
    stage.sample(240, 3, 91).await?;
    for tenant in ["1", "2", "3"] {
        stage.sync_local(&["--tenant", tenant]).await?;
    }
    let (first, second) = (ids_of(stage, 1).await?, ids_of(stage, 2).await?);
    sqlx::query("DELETE FROM conversations WHERE id = $1")
        .bind(first[0])
        .execute(&stage.source)
        .await?;
    Ok([&first[..5], &second[..3], &[999_999]].concat())
}

#[tokio::test]
async fn a_dry_run_of_a_list_shows_each_tenants_part_and_starts_nothing() {
    on_stage(|stage| async move {
        let ids = a_list_of_two_tenants(&stage).await?;
        let file = std::env::temp_dir().join(format!("{}_ids.csv", stage.database("source")));
        std::fs::write(&file, format!("conversation_id\r\n{}\r\n", listed(&ids, "\r\n")))?;
        let path = file.to_str().expect("a folder's name is UTF-8").to_owned();

        let planned = stage
            .tidemark(&["resync", "--all", "--ids-file", &path, "--dry-run", "--json"])
            .await?;
        std::fs::remove_file(&file)?;
        ensure!(
            planned.code == 0 && planned.stderr.contains("1 of 9 ids") && planned.stderr.contains("999999"),
            "{planned:?}"
        );
        let plans = planned.json();
        let plans = plans.as_array().expect("an array for several tenants");
        ensure!(
            plans.len() == 2 && plans[0]["tenant_id"] == 1 && plans[0]["keys"] == 5,
            "{plans:#?}"
        );
        ensure!(
            plans[1]["keys"] == 3 && plans[1]["chunks"] == 1 && plans[1]["watermark_held_by"].is_null(),
            "{plans:#?}"
        );
        let table = stage
            .tidemark_with_input(
                &["resync", "--tenant", "1,2", "--ids-file", "-", "--dry-run"],
                &listed(&ids, " "),
            )
            .await?;
        ensure!(
            table.code == 0 && table.stdout.contains("all") && table.stdout.contains("ids 5"),
            "{table:?}"
        );
        no_run(&stage).await
    })
    .await;
}

#[tokio::test]
async fn a_list_for_several_tenants_gives_each_its_own() {
    on_stage(|stage| async move {
        let ids = a_list_of_two_tenants(&stage).await?;
        let up = stage.start(&["up"])?;
        let done = stage
            .tidemark_with_input(
                &[
                    "resync",
                    "--tenant",
                    "1",
                    "--tenant",
                    "2",
                    "--ids-file",
                    "-",
                    "--wait",
                    "--json",
                ],
                &listed(&ids, ",\n"),
            )
            .await?;
        ensure!(done.code == 0, "{done:?}");
        let runs = done.json();
        let of = |run: usize| (runs[run]["tenant_id"].clone(), runs[run]["records"].clone());
        let (one, two) = (of(0), of(1));
        ensure!(
            one.0 == 1 && one.1["extracted"] == 4 && one.1["deleted"] == 1,
            "{runs:#}"
        );
        ensure!(
            two.0 == 2 && two.1["extracted"] == 3 && two.1["deleted"] == 0,
            "{runs:#}"
        );
        up.stop().await?;
        stage.assert_equal(&[1, 2, 3]).await
    })
    .await;
}

#[tokio::test]
async fn inboxes_and_times_are_taken_together_and_long_lists_in_several_runs() {
    on_stage(|stage| async move {
        stage.sample(200, 2, 92).await?;
        let inboxes: Vec<(i32, i32)> =
            sqlx::query_as("SELECT tenant_id, min(inbox_id) FROM inbox_tenant_mapping GROUP BY 1 ORDER BY 1")
                .fetch_all(&stage.target)
                .await?;
        let (from, to) = ("2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z");
        let both = format!("{},{}", inboxes[0].1, inboxes[1].1);
        let args = ["resync", "--all", "--dry-run", "--json", "--inbox", &both, "--from", from, "--to", to];
        let plans = stage.tidemark(&args).await?;
        ensure!(plans.code == 0, "{plans:?}");
        for (plan, (tenant, inbox)) in plans.json().as_array().into_iter().flatten().zip(&inboxes) {
            let count: i64 = sqlx::query_scalar("SELECT count(*) FROM conversations WHERE inbox_id = $1 AND isfinite(created_at)")
                .bind(inbox)
                .fetch_one(&stage.source)
                .await?;
            ensure!(plan["tenant_id"] == *tenant && plan["keys"] == count && count > 0, "{count} {plan:#}");
        }
        let elsewhen = stage
            .tidemark(&["resync", "--tenant", "1", "--dry-run", "--json", "--inbox", &inboxes[0].1.to_string(), "--from", from, "--to", "2000-01-02T00:00:00Z"])
            .await?;
        ensure!(elsewhen.code == 0 && elsewhen.json()["keys"] == 0, "{elsewhen:?}");

        let many: Vec<i64> = (1..=100_001).collect();
        let asked = stage
            .tidemark_with_input(&["resync", "--tenant", "1", "--ids-file", "-", "--json"], &listed(&many, "\n"))
            .await?;
        ensure!(asked.code == 0 && asked.json().as_array().is_some_and(|runs| runs.len() == 2), "{asked:?}");
        let sizes: Vec<i32> = sqlx::query_scalar(
            "SELECT jsonb_array_length(request #> '{selection,ids}') FROM etl_control WHERE type = 'resync' ORDER BY id",
        )
        .fetch_all(&stage.target)
        .await?;
        ensure!(sizes == [100_000, 1], "{sizes:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_combined_or_read_is_a_usage_error_and_no_run() {
    on_stage(|stage| async move {
        stage.sample(60, 2, 93).await?;
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
        for (args, input, word) in [
            (
                ["--tenant", "1", "--ids-file", "/nowhere/ids"].as_slice(),
                "",
                "/nowhere/ids",
            ),
            (&["--tenant", "1", "--ids-file", "-"], "1\n2x\n", "line 2: `2x`"),
            (&["--tenant", "1", "--ids-file", "-"], "", "no id"),
            (
                &["--tenant", "1", "--ids-file", "-", "--all-rows"],
                "1",
                "--all-rows",
            ),
            (&["--tenant", "1", "--ids", "1", "--inbox", "1"], "", "--inbox"),
            (
                &["--tenant", "1", "--ids", "1", "--from", early, "--to", late],
                "",
                "--from",
            ),
            (
                &["--tenant", "1", "--all-rows", "--from", early, "--to", late],
                "",
                "--all-rows",
            ),
            (&["--tenant", "1", "--all", "--all-rows"], "", "--all"),
            (
                &["--tenant", "1", "--all-rows", "--dry-run", "--wait"],
                "",
                "--wait",
            ),
            (&["--tenant", "1,9", "--all-rows"], "", "no tenant 9"),
            (&["--all", "--inbox", "4711"], "", "none of these tenants"),
            (&["--all", "--ids", "999999"], "", "none of the 1 ids"),
        ] {
            let answer = stage
                .tidemark_with_input(&[&["resync"], args].concat(), input)
                .await?;
            ensure!(
                answer.code == 64 && answer.stderr.contains(word),
                "{args:?} {answer:?}"
            );
        }
        no_run(&stage).await
    })
    .await;
}

#[tokio::test]
async fn a_plan_of_all_tenants_names_the_one_that_is_refused_and_goes_on() {
    on_stage(|stage| async move {
        stage.sample(300, 2, 94).await?;
        for tenant in ["1", "2"] {
            stage.sync_local(&["--tenant", tenant]).await?;
        }
        let ids = ids_of(&stage, 1).await?;
        sqlx::query("DELETE FROM conversations WHERE id = ANY($1)")
            .bind(&ids[..60])
            .execute(&stage.source)
            .await?;
        let plans = stage.tidemark(&["plan", "--all", "--json"]).await?;
        ensure!(plans.code == 1, "{plans:?}");
        let plans: Value = plans.json();
        ensure!(
            plans[0]["tenant_id"] == 1
                && plans[0]["error"]
                    .as_str()
                    .is_some_and(|error| error.contains("gone")),
            "{plans:#}"
        );
        ensure!(plans[1]["tenant_id"] == 2 && plans[1]["keys"] == 0, "{plans:#}");
        let alone = stage.tidemark(&["plan", "--tenant", "1"]).await?;
        ensure!(
            alone.code == 1 && alone.stderr.contains("allow-mass-delete"),
            "{alone:?}"
        );
        Ok(())
    })
    .await;
}
