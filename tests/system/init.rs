//! The first settings file, and the demonstration: without RabbitMQ, and with a tenant's page.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::console::client::Client;
use crate::stage::{Answer, Stage, on_stage, poll};

/// Nothing of the environment names a server, as on a new machine.
const NO_SERVERS: [(&str, &str); 3] = [
    ("TIDEMARK_DATABASE_URL", ""),
    ("TIDEMARK_SOURCE_URL", ""),
    ("TIDEMARK_AMQP_URL", ""),
];

/// A new folder, which is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("tidemark-init-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn mode(path: impl AsRef<Path>) -> Result<u32> {
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o777)
}

/// `init` in a file of the folder, with a flag for each server.
async fn init(stage: &Stage, file: &str, more: &[&str]) -> Result<Answer> {
    let (target, source) = (stage.url("target"), stage.url("source"));
    let args = [
        "init",
        "--config",
        file,
        "--database-url",
        &target,
        "--source-url",
        &source,
    ];
    stage.tidemark_with(&[&args, more].concat(), &NO_SERVERS).await
}

#[tokio::test]
async fn init_writes_a_file_for_its_owner_alone_with_which_the_other_commands_work() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 1).await?;
        let folder = Folder::new()?;
        let file = folder.path("tidemark.toml");
        let amqp = crate::stage::Servers::shared().amqp;
        let written = init(&stage, &file, &["--amqp-url", &amqp]).await?;
        ensure!(written.code == 0, "{written:?}");
        ensure!(mode(&file)? == 0o600, "{:o}", mode(&file)?);
        // doctor's words about each server, and three commands at the end
        for group in ["ledger  ", "source main  ", "broker"] {
            ensure!(written.stdout.contains(group), "{group} is missing: {written:?}");
        }
        let next: Vec<&str> = written
            .stdout
            .lines()
            .filter_map(|line| line.strip_prefix(&format!("  tidemark --config {file} ")))
            .collect();
        ensure!(
            matches!(next[..], ["migrate", add, "up"] if add.starts_with("tenant add --id 1 ")),
            "{written:?}"
        );
        ensure!(
            !written.stdout.contains(&stage.url("target")),
            "a password: {written:?}"
        );

        // the file alone is enough
        let config = ["--config", file.as_str()];
        for args in [&["config", "check"][..], &["account", "list"], &["status"]] {
            let answer = stage
                .tidemark_with(&[&config, args].concat(), &NO_SERVERS)
                .await?;
            ensure!(answer.code == 0, "{args:?}: {answer:?}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn init_replaces_no_file_unasked() {
    on_stage(|stage| async move {
        let folder = Folder::new()?;
        let file = folder.path("tidemark.toml");
        std::fs::write(&file, "amqp_prefix = \"mine\"\n")?;
        let refused = init(&stage, &file, &["--without-rabbitmq"]).await?;
        ensure!(
            refused.code == 64 && refused.stderr.contains("--force"),
            "{refused:?}"
        );
        ensure!(
            std::fs::read_to_string(&file)?.contains("mine"),
            "the file was changed"
        );
        // not even a secret's file is written then
        let secrets = folder.path("secrets");
        let refused = init(&stage, &file, &["--without-rabbitmq", "--secrets", &secrets]).await?;
        ensure!(refused.code == 64 && !Path::new(&secrets).exists(), "{refused:?}");

        let forced = init(&stage, &file, &["--without-rabbitmq", "--force"]).await?;
        ensure!(forced.code == 0 && mode(&file)? == 0o600, "{forced:?}");
        ensure!(
            !std::fs::read_to_string(&file)?.contains("mine"),
            "the file is the old one"
        );
        ensure!(std::fs::read_dir(&folder.0)?.count() == 1, "a file is left over");
        ensure!(forced.stdout.contains("sync --all --local"), "{forced:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn init_without_a_terminal_names_every_flag_that_it_needs() {
    on_stage(|stage| async move {
        let folder = Folder::new()?;
        let file = folder.path("tidemark.toml");
        let refused = stage
            .tidemark_with(&["init", "--config", &file], &NO_SERVERS)
            .await?;
        ensure!(refused.code == 64, "{refused:?}");
        for word in [
            "--database-url",
            "TIDEMARK_DATABASE_URL_FILE",
            "--source-url",
            "--amqp-url",
            "--without-rabbitmq",
        ] {
            ensure!(refused.stderr.contains(word), "{word} is missing: {refused:?}");
        }
        ensure!(!Path::new(&file).exists(), "a file was written");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn init_keeps_secrets_in_files_or_in_the_environment_where_they_are() {
    on_stage(|stage| async move {
        let folder = Folder::new()?;
        let (file, secrets) = (folder.path("tidemark.toml"), folder.path("secrets"));
        let source = folder.path("source");
        std::fs::write(&source, stage.url("source"))?;
        let target = stage.url("target");
        let args = [
            "init",
            "--json",
            "--config",
            &file,
            "--secrets",
            &secrets,
            "--database-url",
            &target,
        ];
        let settings = [
            ("TIDEMARK_DATABASE_URL", ""),
            ("TIDEMARK_SOURCE_URL", ""),
            ("TIDEMARK_SOURCE_URL_FILE", source.as_str()),
        ];
        let written = stage.tidemark_with(&args, &settings).await?;
        ensure!(written.code == 0, "{written:?}");
        let text = std::fs::read_to_string(&file)?;
        ensure!(
            !text.contains("\npostgres://") && !text.contains(stage.login()),
            "a URL is in the file: {text}"
        );
        let own = format!("{secrets}/database_url");
        ensure!(
            mode(&secrets)? == 0o700 && mode(&own)? == 0o600,
            "others can read {secrets}"
        );
        ensure!(std::fs::read_to_string(&own)?.trim() == target, "another URL");
        // what came from the environment is neither copied nor named anew
        ensure!(
            std::fs::read_dir(&secrets)?.count() == 1,
            "more files than URLs of flags"
        );
        let environment = written.json()["environment"].clone();
        ensure!(
            environment == serde_json::json!([{"name": "TIDEMARK_DATABASE_URL_FILE", "value": own}]),
            "{environment}"
        );

        let settings = [&settings[..], &[("TIDEMARK_DATABASE_URL_FILE", own.as_str())]].concat();
        let status = stage
            .tidemark_with(&["--config", &file, "status"], &settings)
            .await?;
        ensure!(status.code == 0, "{status:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn init_says_what_is_wrong_with_a_server_and_still_writes_the_file() {
    on_stage(|stage| async move {
        let folder = Folder::new()?;
        let file = folder.path("tidemark.toml");
        let nowhere = "postgres://reader:s3cret@127.0.0.1:9/chatwoot";
        let written = init(&stage, &file, &["--without-rabbitmq", "--source-url", nowhere]).await?;
        ensure!(written.code == 64, "a flag twice: {written:?}");
        let target = stage.url("target");
        let args = [
            "init",
            "--config",
            &file,
            "--without-rabbitmq",
            "--database-url",
            &target,
        ];
        let args = [&args[..], &["--source-url", nowhere]].concat();
        let written = stage.tidemark_with(&args, &NO_SERVERS).await?;
        ensure!(written.code == 1 && Path::new(&file).exists(), "{written:?}");
        ensure!(
            written.stdout.contains("error       connection: ") && written.stdout.contains("127.0.0.1:9"),
            "{written:?}"
        );
        ensure!(
            !format!("{written:?}").contains("s3cret"),
            "a password: {written:?}"
        );
        Ok(())
    })
    .await;
}

/// `init` on a terminal that util-linux's `script` makes, with what a person types.
async fn on_a_terminal(file: &str, typed: &str) -> Result<Answer> {
    let program = crate::stage::binary();
    let command = format!("{} init --config {file}", program.display());
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir(std::env::temp_dir())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().context("a pipe")?;
    stdin.write_all(typed.as_bytes()).await?;
    let output = tokio::time::timeout(crate::stage::WAIT_LIMIT, child.wait_with_output()).await??;
    drop(stdin);
    Ok(Answer {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

#[tokio::test]
async fn init_asks_on_a_terminal_and_asks_again_for_a_server_that_does_not_work() {
    on_stage(|stage| async move {
        let folder = Folder::new()?;
        let file = folder.path("tidemark.toml");
        let url = url::Url::parse(&stage.url("target"))?;
        let mut without_password = url.clone();
        without_password.set_password(None).expect("a URL with a user");
        let password = url.password().context("a password")?;
        let source = stage.url("source");
        let typed = format!(
            "postgres://tidemark@127.0.0.1:9/nothing\n\nn\n{without_password}\n{password}\n{source}\n\nnone\n"
        );
        let answer = on_a_terminal(&file, &typed).await?;
        ensure!(answer.code == 0, "{answer:?}");
        ensure!(answer.stdout.contains("Use it all the same?"), "{answer:?}");
        let text = std::fs::read_to_string(&file)?;
        ensure!(
            text.contains(url.as_str()) && text.contains("#amqp_url = "),
            "{text}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_demo_needs_no_rabbitmq_with_local() {
    on_stage(|stage| async move {
        let mut source = url::Url::parse(&stage.url("source"))?;
        let name = format!("{}_demo", stage.login());
        source.set_path(&format!("/{name}"));
        let settings = [
            ("TIDEMARK_AMQP_URL", ""),
            ("TIDEMARK_SOURCE_URL", source.as_str()),
        ];
        let small = [
            "demo",
            "--local",
            "--conversations",
            "300",
            "--tenants",
            "2",
            "--changes",
            "50",
        ];
        let demo = stage.tidemark_with(&small, &settings).await;
        let mut admin = stage.admin().await?;
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        sqlx::query(sqlx::AssertSqlSafe(drop)).execute(&mut admin).await?;
        let demo = demo?;
        ensure!(
            demo.code == 0 && demo.stdout.contains("Every tenant's target rows equal"),
            "{demo:?}"
        );
        let processes: i64 = sqlx::query_scalar("SELECT count(*) FROM etl_process")
            .fetch_one(&stage.target)
            .await?;
        ensure!(processes == 0, "the demo started {processes} processes");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_demo_that_stays_shows_a_tenants_page() {
    on_stage(|stage| async move {
        let database = format!("{}_stay", stage.login());
        let shown = show_a_tenants_page(&stage, &database).await;
        let mut admin = stage.admin().await?;
        let drop = format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)");
        sqlx::query(sqlx::AssertSqlSafe(drop)).execute(&mut admin).await?;
        shown
    })
    .await;
}

async fn show_a_tenants_page(stage: &Stage, database: &str) -> Result<()> {
    let mut source = url::Url::parse(&stage.url("source"))?;
    source.set_path(&format!("/{database}"));
    let pages = stage.pages_url().await?;
    let settings = [
        ("TIDEMARK_SOURCE_URL", source.as_str()),
        ("TIDEMARK_CONSOLE_TENANT_DATABASE_URL", pages.as_str()),
        ("TIDEMARK_CONSOLE_LISTEN", "127.0.0.1:0"),
    ];
    let folder = Folder::new()?;
    let said = folder.0.join("said");
    let small = [
        "demo",
        "--stay",
        "--conversations",
        "80",
        "--tenants",
        "1",
        "--changes",
        "5",
    ];
    let demo = stage.start_into(&std::fs::File::create(&said)?, &small, &settings)?;
    let link = poll("a link to a tenant's page", async || {
        let text = std::fs::read_to_string(&said)?;
        let link = text
            .split_whitespace()
            .find(|word| word.contains("/t/") && word.starts_with("http://"));
        let is_open = text.contains("the console is open at");
        Ok(link.filter(|_| is_open).map(str::to_owned))
    })
    .await?;
    let link = url::Url::parse(&link)?;
    let address = link.authority().to_owned();
    let client = Client::new(&address);
    let page = poll("the page", async || Ok(client.get(link.path()).await.ok())).await?;
    // nobody has to sign in: an operator looks, and is told so
    ensure!(
        page.status == 200 && page.body.contains("as an operator") && page.body.contains("class=\"filters\""),
        "{page:?}"
    );
    demo.stop().await
}
