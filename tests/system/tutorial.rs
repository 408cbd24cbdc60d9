//! The tutorial, followed command by command: every block of commands runs as it stands on the page, in one shell, and
//! prints what the page says.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::servers::Server;
use crate::stage::{WAIT_LIMIT, binary, on_stage};

/// Printed before the output of each block.
const MARK: &str = "@@ block";

/// Commands, and lines that their output has.
struct Block {
    commands: String,
    says: Vec<String>,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut fences = page.split("\n```");
    // text and code take turns
    while let (Some(_), Some(code)) = (fences.next(), fences.next()) {
        let (kind, lines) = code.split_once('\n').unwrap_or((code, ""));
        match kind {
            "sh" => blocks.push(Block {
                commands: lines.to_owned(),
                says: Vec::new(),
            }),
            "text" => {
                let block = blocks.last_mut().expect("commands come before their output");
                block.says = lines.lines().map(str::to_owned).collect();
            }
            _ => {}
        }
    }
    blocks
}

/// One blank between words.
fn plain(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[tokio::test]
async fn every_command_of_the_tutorial_works_and_prints_what_the_page_says() {
    // the stage removes the queues; the databases are on a server of the test's own, because the page names them
    on_stage(|stage| async move { follow(stage.login()).await }).await;
}

async fn follow(prefix: &str) -> Result<()> {
    let page = include_str!("../../docs/tutorial.md");
    let blocks = blocks(page);
    ensure!(blocks.len() >= 12, "only {} blocks", blocks.len());
    let postgres = Server::postgres().await?;
    let rabbitmq = crate::stage::Servers::shared().amqp;
    let database = url::Url::parse(&postgres.url()?)?;
    let port = database.port().context("a port")?;
    let console = format!("127.0.0.1:{}", free_port()?);
    // only where the servers are is another place than on the page
    let places = [
        ("sudo -u postgres psql", "psql".to_owned()),
        ("localhost:5432", format!("127.0.0.1:{port}")),
        ("amqp://guest:guest@localhost:5672/%2f", format!("'{rabbitmq}'")),
        ("localhost:9480", console.clone()),
        (
            "/usr/share/tidemark",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy").to_owned(),
        ),
    ];
    // a command that fails leaves no process behind
    let mut script = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n".to_owned();
    for block in &blocks {
        let commands = places
            .iter()
            .fold(block.commands.clone(), |text, (from, to)| text.replace(from, to));
        script += &format!("echo '{MARK}'\n{commands}\n");
    }

    let folder = std::env::temp_dir().join(format!("tidemark-tutorial-{:016x}", rand::random::<u64>()));
    std::fs::create_dir(&folder)?;
    let ran = run(&script, &folder, &port.to_string(), &console, prefix).await;
    let left = std::fs::read_dir(&folder)?.count();
    std::fs::remove_dir_all(&folder)?;
    let (code, output, errors) = ran?;
    ensure!(
        code == Some(0),
        "the tutorial ends with {code:?}:\n{output}\n{errors}"
    );
    ensure!(left == 0, "the tutorial leaves files");

    let outputs: Vec<&str> = output.split(MARK).skip(1).collect();
    ensure!(outputs.len() == blocks.len(), "{output}");
    for (block, output) in blocks.iter().zip(outputs) {
        for line in &block.says {
            ensure!(
                plain(output).contains(&plain(line)),
                "the page says `{line}` after\n{}and the commands say\n{output}\n{errors}",
                block.commands
            );
        }
    }
    Ok(())
}

async fn run(
    script: &str,
    folder: &Path,
    port: &str,
    console: &str,
    prefix: &str,
) -> Result<(Option<i32>, String, String)> {
    let program = binary();
    let programs = program.parent().context("a folder")?.display().to_string();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut paths = std::ffi::OsString::from(programs);
    paths.push(":");
    paths.push(path);
    let shell = Command::new("bash")
        .args(["-c", script])
        .current_dir(folder)
        .env("PATH", paths)
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", port)
        .env("PGUSER", "postgres")
        .env("TIDEMARK_CONSOLE_LISTEN", console)
        .env("TIDEMARK_AMQP_PREFIX", prefix)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = tokio::time::timeout(WAIT_LIMIT, shell.wait_with_output())
        .await
        .context("the tutorial hangs")??;
    Ok((
        output.status.code(),
        String::from_utf8(output.stdout)?,
        String::from_utf8(output.stderr)?,
    ))
}
