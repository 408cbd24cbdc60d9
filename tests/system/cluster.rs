//! A RabbitMQ of three nodes.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::servers::Server;
use crate::stage::on_stage;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_in_the_middle_of_a_run_costs_neither_the_run_nor_a_row() {
    on_stage(async |stage| -> Result<()> {
        stage.sample(1_500, 2, 41).await?;
        let first = Server::rabbitmq().await?;
        let second = first.cluster_node().await?;
        let third = first.cluster_node().await?;
        // processes connect to the first URL, so this node has the connections and the leaders of the queues
        let urls = format!("{},{},{}", second.url()?, first.url()?, third.url()?);
        let settings = [
            ("TIDEMARK_AMQP_URL", urls.as_str()),
            ("TIDEMARK_WORKER_LEASE", "3s"),
            ("TIDEMARK_PRODUCER_REQUEUE_AFTER", "5s"),
        ];
        let fleet = stage.fleet_with(&["producer", "worker", "worker", "finalizer"], &settings)?;
        stage
            .until("SELECT count(*) = 4 AND bool_and(doing IS NULL) FROM etl_process")
            .await?;
        let asked = stage
            .tidemark_with(
                &["sync", "--all", "--full", "--chunk-size", "20", "--json"],
                &settings,
            )
            .await?;
        ensure!(asked.code == 0, "{asked:?}");
        stage
            .until("SELECT count(*) > 5 FROM etl_chunk WHERE status = 'done'")
            .await?;
        let queues = second
            .ctl(&[
                "-q",
                "list_queues",
                "--formatter",
                "json",
                "name",
                "leader",
                "members",
            ])
            .await?;
        let queues: Vec<Value> = serde_json::from_str(&queues)?;
        ensure!(queues.len() == 4, "{queues:#?}");
        let leader = &queues[0]["leader"];
        for queue in &queues {
            ensure!(
                queue["members"]
                    .as_array()
                    .is_some_and(|members| members.len() == 3),
                "{queue:#}"
            );
            ensure!(queue["leader"] == *leader, "{queues:#?}");
        }

        second.crash().await?;
        stage
            .until("SELECT bool_and(finished_at IS NOT NULL) FROM etl_control")
            .await?;
        let ended: Vec<(String, i32, i32)> =
            sqlx::query_as("SELECT status::text, chunks_dead, chunks_total FROM etl_control ORDER BY id")
                .fetch_all(&stage.target)
                .await?;
        ensure!(
            ended
                .iter()
                .all(|(status, dead, _)| status == "success" && *dead == 0),
            "{ended:?}"
        );

        // a run that begins without the node succeeds too
        let later = stage
            .tidemark_with(&["sync", "--all", "--full", "--wait", "--json"], &settings)
            .await?;
        ensure!(later.code == 0, "{later:?}");
        stage.assert_equal(&[1, 2]).await?;
        fleet.stop().await
    })
    .await;
}
