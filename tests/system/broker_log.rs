//! What RabbitMQ logs of a fleet: no refusal and no client that disappears, from the first check-up to the last stop.

use anyhow::{Result, ensure};

use crate::servers::Server;
use crate::stage::{Servers, on_servers, poll};

/// The lines of the broker's log, when every connection that it accepted is closed.
async fn lines_when_quiet(broker: &Server) -> Result<Vec<String>> {
    poll("every connection is closed", async || {
        let mut text = String::new();
        for file in std::fs::read_dir(broker.path("log"))? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                text.push_str(&std::fs::read_to_string(path)?);
            }
        }
        let opened = text
            .lines()
            .filter(|line| line.contains("granted access to vhost"))
            .count();
        let closed = text.lines().filter(|line| is_close(line)).count();
        Ok((opened > 0 && opened == closed).then(|| text.lines().map(str::to_owned).collect()))
    })
    .await
}

/// The end of a connection that was logged in. The script that starts the broker opens others, to see whether it is ready.
fn is_close(line: &str) -> bool {
    line.contains("closing AMQP connection") && line.contains("vhost: ")
}

fn is_bad(line: &str) -> bool {
    line.contains("[error]")
        || line.contains("channel exception")
        || (is_close(line) && line.contains("[warning]"))
}

#[tokio::test]
async fn a_whole_life_leaves_no_error_and_no_lost_client_in_the_brokers_log() {
    let broker = Server::rabbitmq().await.expect("a server can be started");
    let servers = Servers {
        amqp: broker.url().expect("it has a URL"),
        ..Servers::shared()
    };
    let management = std::fs::read_to_string(broker.path("management-url")).expect("it has an HTTP API");
    let (broker, management) = (&broker, management.trim());
    on_servers(servers, |stage| async move {
        let settings = [("TIDEMARK_AMQP_MANAGEMENT_URL", management)];
        let doctor = stage.tidemark_with(&["doctor", "--json"], &settings).await?;
        ensure!(doctor.stdout.contains("do not exist yet"), "{doctor:?}");
        let migrated = stage.tidemark(&["migrate"]).await?;
        ensure!(migrated.code == 0, "{migrated:?}");
        stage.sample(60, 1, 127).await?;

        let fleet = stage.fleet(&["producer", "worker", "finalizer", "up"])?;
        let synced = stage.tidemark(&["sync", "--all", "--wait"]).await?;
        ensure!(synced.code == 0, "{synced:?}");
        stage.publish("jobs", "bulk", b"no job").await?;
        stage.until_waiting("dead", 1).await?;
        for command in ["dead list", "dead redrive", "dead purge", "dead purge --yes"] {
            let args: Vec<&str> = command.split(' ').collect();
            let done = stage.tidemark(&args).await?;
            ensure!([0, 64].contains(&done.code), "{done:?}");
        }
        let doctor = stage.tidemark_with(&["doctor", "--json"], &settings).await?;
        ensure!(doctor.stdout.contains("all four exist"), "{doctor:?}");
        fleet.stop().await?;

        let lines = lines_when_quiet(broker).await?;
        let bad: Vec<&String> = lines.iter().filter(|line| is_bad(line)).collect();
        ensure!(bad.is_empty(), "{bad:#?}");
        Ok(())
    })
    .await;
}
