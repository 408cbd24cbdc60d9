//! Lists of runs, chunks, rejects and watermarks, with their filters.

use anyhow::{Result, ensure};
use serde_json::Value;
use sqlx::Executor;

use crate::stage::{Stage, on_stage};

async fn list(stage: &Stage, args: &[&str]) -> Result<Vec<Value>> {
    let answer = stage.tidemark(&[args, &["--json"]].concat()).await?;
    ensure!(answer.code == 0, "{args:?} {answer:?}");
    Ok(answer.json().as_array().cloned().unwrap_or_default())
}

/// Asserts the values of `field` in a list, in their order.
async fn lists(stage: &Stage, args: &[&str], field: &str, expected: &[i64]) -> Result<()> {
    let found: Vec<i64> = list(stage, args)
        .await?
        .iter()
        .filter_map(|one| one[field].as_i64())
        .collect();
    ensure!(found == expected, "{args:?}: {found:?}");
    Ok(())
}

#[tokio::test]
async fn every_list_takes_filters_and_says_when_it_is_cut() {
    on_stage(|stage| async move {
        stage.sample(40, 2, 7).await?;
        stage.target.execute(include_str!("lists/ledger.sql")).await?;
        let runs = |args: &[&'static str]| [&["run", "list"], args].concat();
        for (args, expected) in [
            ([].as_slice(), [4, 3, 2, 1].as_slice()),
            (&["--tenant", "1"], &[2, 1]),
            (&["--status", "failed,partial"], &[3, 2]),
            (
                &[
                    "--status",
                    "failed",
                    "--status",
                    "success",
                    "--type",
                    "full,incremental",
                ],
                &[2, 1],
            ),
            (&["--since", "90m"], &[3]),
            (
                &["--since", "2026-01-31T09:00:00+01:00", "--type", "resync"],
                &[4],
            ),
            (&["--since", "1day", "--limit", "1"], &[3]),
            (&["--limit", "2", "--before", "4"], &[3, 2]),
            (&["--before", "2"], &[1]),
            (&["--tenant", "2", "--before", "4"], &[3]),
            (&["--status", "failed,partial", "--before", "3"], &[2]),
        ] {
            lists(&stage, &runs(args), "run_id", expected).await?;
        }
        for (args, expected) in [
            (["--status", "done,dead"].as_slice(), [3, 2, 2, 1].as_slice()),
            (&["--troubled"], &[2, 2]),
            (&["--lane", "bulk"], &[1]),
            (&["--run", "2", "--status", "dead"], &[2]),
            (&["--tenant", "2"], &[3]),
            (&["--limit", "2"], &[3, 2]),
            (&["--limit", "2", "--after", "2/1"], &[2, 1]),
            (&["--after", "2/2"], &[1]),
            (&["--tenant", "1", "--after", "2/1"], &[2, 1]),
            (&["--run", "2", "--after", "2/1"], &[2]),
            (&["--troubled", "--after", "2/1"], &[2]),
        ] {
            lists(&stage, &[&["chunk", "list"], args].concat(), "run_id", expected).await?;
        }
        for (args, expected) in [
            ([].as_slice(), [10, 11, 12].as_slice()),
            (&["--all"], &[10, 11, 12, 13]),
            (&["--side", "target"], &[11]),
            (&["--sqlstate", "23", "--all"], &[11, 13]),
            (&["--sqlstate", "22p02"], &[10]),
            (&["--run", "3", "--all"], &[12, 13]),
            (&["--tenant", "1", "--since", "1h"], &[11]),
            (&["--conversation", "12"], &[12]),
            (&["--limit", "1"], &[10]),
            (&["--limit", "1", "--after", "1:10"], &[11]),
            (&["--after", "1:11"], &[12]),
            (&["--all", "--after", "2:12"], &[13]),
        ] {
            lists(
                &stage,
                &[&["rejected", "list"], args].concat(),
                "conversation_id",
                expected,
            )
            .await?;
        }
        stage
            .target
            .execute("UPDATE etl_watermark SET watermark = now() - interval '10 minutes' WHERE tenant_id = 1")
            .await?;
        let watermarks = ["watermark", "show"].as_slice();
        lists(&stage, watermarks, "tenant_id", &[1, 2]).await?;
        lists(
            &stage,
            &[watermarks, &["--behind", "1h"]].concat(),
            "tenant_id",
            &[2],
        )
        .await?;
        lists(
            &stage,
            &[watermarks, &["--behind", "5m"]].concat(),
            "tenant_id",
            &[1, 2],
        )
        .await?;

        lists(&stage, &["tenant", "list", "--limit", "1"], "id", &[1]).await?;
        lists(&stage, &["tenant", "list", "--after", "1"], "id", &[2]).await?;

        let cut = stage.tidemark(&["run", "list", "--limit", "2"]).await?;
        ensure!(
            cut.code == 0
                && cut
                    .stderr
                    .contains("the first 2 runs; more with --limit, or with --before 3"),
            "{cut:?}"
        );
        let whole = stage.tidemark(&["run", "list"]).await?;
        ensure!(whole.stderr.is_empty(), "{whole:?}");
        for (args, word) in [
            (
                ["run", "list", "--status", "done"].as_slice(),
                "requested, planning",
            ),
            (&["run", "list", "--type", "all"], "incremental, full"),
            (&["run", "list", "--since", "yesterday"], "2026-01-31T08:00:00Z"),
            (&["run", "list", "--tenant", "7"], "no tenant 7"),
            (&["chunk", "list", "--lane", "fast"], "live, bulk"),
            (&["chunk", "list", "--run", "99"], "no run 99"),
            (
                &["rejected", "list", "--side", "left"],
                "source, transform, target",
            ),
            (&["rejected", "list", "--sqlstate", "23%"], "SQLSTATE"),
        ] {
            let answer = stage.tidemark(args).await?;
            ensure!(
                answer.code == 64 && answer.stderr.contains(word),
                "{args:?} {answer:?}"
            );
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_run_says_who_asked_for_it_why_and_for_what() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 8).await?;
        let ids: Vec<String> = (1..=30).map(|id| id.to_string()).collect();
        let ids = ids.join(",");
        let asked = [
            "resync",
            "--tenant",
            "1",
            "--ids",
            &ids,
            "--reason",
            "after the import",
        ];
        let asked = stage.tidemark(&asked).await?;
        ensure!(asked.code == 0, "{asked:?}");
        let runs = list(&stage, &["run", "list"]).await?;
        let run = &runs[0];
        ensure!(
            run["triggered_by"]
                .as_str()
                .is_some_and(|who| who.starts_with("cli:")),
            "{run:#}"
        );
        ensure!(
            run["reason"] == "after the import" && run["started_at"].is_null(),
            "{run:#}"
        );
        // a list of a hundred thousand ids would make every list of runs unreadable
        let selection = &run["request"]["selection"];
        ensure!(selection["id_count"] == 30, "{run:#}");
        ensure!(
            selection["ids"].as_array().is_some_and(|ids| ids.len() == 20),
            "{run:#}"
        );
        let shown = stage.tidemark(&["run", "show", "1"]).await?;
        ensure!(shown.stdout.contains("after the import"), "{shown:?}");
        let audit = stage
            .tidemark(&["audit", "list", "--action", "run.request", "--json"])
            .await?
            .json();
        ensure!(
            audit["items"][0]["after"]["request"] == run["request"],
            "{audit:#}"
        );
        Ok(())
    })
    .await;
}
