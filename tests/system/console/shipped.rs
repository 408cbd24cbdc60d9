//! The console as `docker-compose.yml` starts it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::client::{Client, serve};
use crate::stage::on_stage;

/// The command of a service, with the mounted secrets in this folder.
fn command_of(compose: &str, service: &str, secrets: &Path) -> Result<Vec<String>> {
    let (_, rest) = compose
        .split_once(&format!("\n  {service}:\n"))
        .context("the service is in docker-compose.yml")?;
    let line = rest
        .lines()
        .find_map(|line| line.trim().strip_prefix("command: ["));
    let line = line.context("the service has a command")?.trim_end_matches(']');
    let secrets = format!("{}/", secrets.display());
    Ok(line
        .split(", ")
        .map(|arg| arg.replace("/run/secrets/", &secrets))
        .collect())
}

#[tokio::test]
async fn the_password_of_compose_secrets_signs_in_and_a_second_start_keeps_it() {
    on_stage(|stage| async move {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folder = std::env::temp_dir().join(format!("tidemark-secrets-{:016x}", rand::random::<u64>()));
        let made = Command::new(root.join("scripts/compose-secrets"))
            .arg(&folder)
            .status()?;
        ensure!(made.success(), "{made}");
        let password = std::fs::read_to_string(folder.join("console_password"))?;
        let compose = std::fs::read_to_string(root.join("docker-compose.yml"))?;
        let command = command_of(&compose, "console-user", &folder)?;
        let args: Vec<&str> = command.iter().map(String::as_str).collect();
        let first = stage.tidemark(&args).await?;
        ensure!(first.code == 0, "{first:?}");
        std::fs::remove_file(folder.join("console_password"))?;
        std::fs::write(folder.join("console_password"), "another long password")?;
        let second = stage.tidemark(&args).await?;
        ensure!(second.code == 0 && second.stderr.contains("kept"), "{second:?}");
        std::fs::remove_dir_all(&folder)?;

        let served = serve(&stage, "console", &[("TIDEMARK_CONSOLE_AUTH", "password")]).await?;
        let stranger = Client::new(&served.address);
        let admin = stranger.sign_in("admin", password.trim()).await?;
        ensure!(
            admin.get("/settings").await?.status == 200,
            "the first user is an admin"
        );
        ensure!(
            stranger.sign_in("admin", "another long password").await.is_err(),
            "a second start changed the password"
        );
        served.process.stop().await
    })
    .await;
}
