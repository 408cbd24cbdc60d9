//! Messages that come twice, late or unreadable: rows count once, a run ends once, and no message circulates for
//! ever.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::http::until_refused;
use crate::stage::{Stage, on_stage};

fn job(run: i64, seq: i32, tenant: i32) -> Value {
    json!({"v": 1, "run_id": run, "seq": seq, "tenant_id": tenant, "attempt": 0})
}

async fn publish(stage: &Stage, exchange: &str, body: &Value) -> Result<()> {
    stage.publish(exchange, "live", body.to_string().as_bytes()).await
}

async fn json(stage: &Stage, args: &[&str]) -> Result<Value> {
    let answer = stage.tidemark(&[args, &["--json"]].concat()).await?;
    ensure!(answer.code == 0, "{args:?}: {answer:?}");
    Ok(answer.json())
}

/// Asserts that every chunk had one attempt, and that the run ended once, at `finished_at`.
async fn assert_executed_once(stage: &Stage, finished_at: &str) -> Result<()> {
    let (twice, moves, again): (bool, i64, bool) = sqlx::query_as(
        "SELECT (SELECT bool_or(attempt <> 1) FROM etl_chunk), (SELECT count(*) FROM etl_watermark_audit), \
                (SELECT bool_or(finished_at::text <> $1) FROM etl_control)",
    )
    .bind(finished_at)
    .fetch_one(&stage.target)
    .await?;
    ensure!(!twice, "a chunk was executed twice");
    ensure!(moves == 1 && !again, "the run ended more than once");
    Ok(())
}

/// Trap 10.
#[tokio::test]
async fn duplicate_and_foreign_messages_change_nothing_and_are_acknowledged() {
    on_stage(|stage| async move {
        let tenants = stage.sample(200, 2, 81).await?;
        let mut fleet = stage.fleet(&["producer"])?;
        let asked = json(&stage, &["sync", "--tenant", "1", "--chunk-size", "20"]).await?;
        let run = asked["run_id"].as_i64().unwrap();
        stage
            .until("SELECT count(*) >= 1 FROM etl_chunk WHERE published_at IS NOT NULL")
            .await?;
        // while the chunk waits: duplicates, and a message that names another tenant's chunk
        for _ in 0..5 {
            publish(&stage, "jobs", &job(run, 1, 1)).await?;
        }
        publish(&stage, "jobs", &job(run, 2, 2)).await?;
        for command in ["worker --concurrency 2", "worker --concurrency 2", "finalizer"] {
            fleet.add(command)?;
        }
        let ended = json(&stage, &["run", "watch", &run.to_string()]).await?;
        ensure!(ended["status"] == "success", "{ended:#}");
        let finished_at: String = sqlx::query_scalar("SELECT finished_at::text FROM etl_control")
            .fetch_one(&stage.target)
            .await?;

        // after the end: duplicates, and messages of unknown chunks
        for _ in 0..5 {
            publish(&stage, "jobs", &job(run, 1, 1)).await?;
        }
        publish(&stage, "jobs", &job(run, 999, 1)).await?;
        publish(&stage, "jobs", &job(987_654_321, 1, 1)).await?;
        until_refused(&stage, 13).await?;
        fleet.stop().await?;
        // a message that was not acknowledged would be back in its queue now
        for queue in ["chunks.live", "chunks.bulk", "dead"] {
            stage.until_waiting(queue, 0).await?;
        }
        assert_executed_once(&stage, &finished_at).await?;
        stage.assert_equal(&tenants[..1]).await
    })
    .await;
}

/// Trap 10.
#[tokio::test]
async fn unreadable_messages_are_set_aside_with_the_reason_and_without_their_content() {
    on_stage(|stage| async move {
        let fleet = stage.fleet(&["producer", "worker", "finalizer"])?;
        stage.until_consumed("chunks.live", 1).await?;
        stage.until_consumed("events", 1).await?;
        for version in [0, 2] {
            let mut other = job(1, 1, 1);
            other["v"] = json!(version);
            publish(&stage, "jobs", &other).await?;
        }
        publish(&stage, "jobs", &json!({"v": 1, "run_id": "one"})).await?;
        publish(&stage, "jobs", &json!({"v": 7})).await?;
        for body in [&b"{\"password\":\"hunter2\""[..], &vec![b'x'; 1024 * 1024]] {
            stage.publish("jobs", "live", body).await?;
        }
        stage.publish("jobs", "events", b"rubbish").await?;
        stage.until_waiting("dead", 7).await?;
        fleet.stop().await?;
        stage.until_waiting("chunks.live", 0).await?;
        stage.until_waiting("dead", 7).await?;

        let dead = json(&stage, &["dead", "list"]).await?;
        ensure!(
            dead["total"] == 7 && dead["messages"].as_array().unwrap().len() == 7,
            "{dead:#}"
        );
        for reason in [
            "version 0, this build reads 1",
            "version 2, this build reads 1",
            "version 7, this build reads 1",
            "fields are missing",
            "not JSON: line 1, column 21",
            "not JSON: line 1, column 1",
            "too big: 1048576 bytes",
        ] {
            ensure!(dead.to_string().contains(reason), "{reason} is not in {dead:#}");
        }
        ensure!(!dead.to_string().contains("hunter2"), "{dead:#}");
        ensure!(dead["messages"][0]["since"].is_string(), "{dead:#}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn dead_messages_are_redriven_when_they_are_wanted_and_stay_otherwise() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 82).await?;
        let producer = stage.start(&["producer"])?;
        let asked = json(&stage, &["sync", "--tenant", "1", "--chunk-size", "20"]).await?;
        let run = asked["run_id"].as_i64().unwrap();
        stage
            .until("SELECT count(*) = 3 FROM etl_chunk WHERE published_at IS NOT NULL")
            .await?;
        producer.stop().await?;
        ensure!(stage.purge("chunks.bulk").await? == 3, "nothing was in the queue");
        publish(&stage, "dead", &job(run, 2, 1)).await?;
        publish(&stage, "dead", &job(run, 2, 7)).await?;
        publish(&stage, "dead", &job(run, 44, 1)).await?;
        publish(&stage, "dead", &json!({"v": 2})).await?;
        publish(&stage, "dead", &json!({"v": 2})).await?;

        let listed = json(&stage, &["dead", "list"]).await?;
        ensure!(
            listed["total"] == 5 && listed["messages"].as_array().unwrap().len() == 4,
            "alike ones are not counted together: {listed:#}"
        );
        let few = json(&stage, &["dead", "list", "--limit", "2"]).await?;
        ensure!(
            few["total"] == 5 && few["messages"].as_array().unwrap().len() == 2,
            "{few:#}"
        );
        let redriven = json(&stage, &["dead", "redrive"]).await?;
        let expected = json!({"redriven": 1, "unreadable": 2, "unwanted": 2, "refused": 0});
        ensure!(redriven == expected, "{redriven:#}");
        stage.until_waiting("dead", 4).await?;
        // no producer is there: the chunk comes by its redriven message alone
        let worker = stage.start(&["worker"])?;
        stage
            .until("SELECT bool_and((status = 'done') = (seq = 2)) FROM etl_chunk")
            .await?;
        worker.stop().await?;

        let asked = stage.tidemark(&["dead", "purge"]).await?;
        ensure!(
            asked.code == 64 && asked.stderr.contains("4 messages"),
            "{asked:?}"
        );
        let purged = json(&stage, &["dead", "purge", "--yes"]).await?;
        ensure!(purged["purged"] == 4, "{purged:#}");
        stage.until_waiting("dead", 0).await
    })
    .await;
}
