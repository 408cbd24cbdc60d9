//! Passwords: commands and a fleet that succeed and fail in every way, and a search of everything that they leave
//! behind.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::collector::Collector;
use crate::http::{address_of, get};
use crate::servers::Server;
use crate::stage::{Process, Servers, Stage, on_servers};

/// Every character with a meaning in a URL, characters that break quoting, and a letter outside ASCII.
const NASTY: &str = "p@ss/w?rd%:#\"'é";
/// Survives every encoding.
const MARK: &str = "Qz7Lk";

/// Parts that must be found nowhere: whole and half, as typed, in URLs, in JSON, escaped.
const TRACES_OF_IT: [&str; 9] = [
    MARK,
    "p@ss",
    "p%40ss",
    "w?rd",
    "w%3Frd",
    "w%3frd",
    "rd%:#",
    "%25:%23",
    "%25%3A%23",
];

pub fn password(of: &str) -> String {
    format!("{NASTY}{MARK}{of}")
}

/// With every byte encoded, as a careful operator may write it.
pub fn with_password(url: &str, user: &str, password: &str) -> Result<String> {
    let mut url: url::Url = url.parse()?;
    let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let named = url
        .set_username(user)
        .and_then(|()| url.set_password(Some(&encoded)));
    ensure!(named.is_ok(), "a URL takes a user and a password");
    Ok(url.into())
}

/// A PostgreSQL and a RabbitMQ that ask for passwords.
pub struct PasswordServers {
    pub postgres: Server,
    pub rabbitmq: Server,
}

impl PasswordServers {
    pub async fn start() -> Result<Self> {
        let (postgres, rabbitmq) = tokio::try_join!(Server::postgres(), Server::rabbitmq())?;
        let mut admin = PgConnection::connect(&postgres.url()?).await?;
        let owner = password("owner").replace('\'', "''");
        admin
            .execute(AssertSqlSafe(format!("ALTER ROLE postgres PASSWORD '{owner}'")))
            .await?;
        let hba: String = sqlx::query_scalar("SHOW hba_file").fetch_one(&mut admin).await?;
        // md5 asks for SCRAM too, where the password is stored so: before PostgreSQL 14 it is not by default
        admin
            .execute(AssertSqlSafe(format!(
                "COPY (SELECT 'host all all 127.0.0.1/32 md5') TO '{hba}'"
            )))
            .await?;
        admin.execute("SELECT pg_reload_conf()").await?;
        rabbitmq.ctl(&["add_user", "fleet", &password("broker")]).await?;
        rabbitmq
            .ctl(&["set_permissions", "fleet", ".*", ".*", ".*"])
            .await?;
        Ok(Self { postgres, rabbitmq })
    }

    pub fn urls(&self) -> Result<Servers> {
        let postgres = with_password(&self.postgres.url()?, "postgres", &password("owner"))?;
        Ok(Servers {
            source: postgres.clone(),
            target: postgres,
            amqp: self.rabbitmq.url()?,
        })
    }
}

/// Everything that commands and processes leave behind.
struct Session<'a> {
    stage: &'a Stage,
    settings: Vec<(&'static str, String)>,
    log: File,
    log_path: PathBuf,
    output: String,
}

impl Session<'_> {
    fn with(&self, other: Option<(&'static str, String)>) -> Vec<(&'static str, String)> {
        let mut settings = self.settings.clone();
        if let Some((name, value)) = other {
            settings.retain(|(known, _)| *known != name);
            settings.push((name, value));
        }
        settings
    }

    /// Runs a command to its end and keeps its output.
    async fn run(&mut self, args: &str, other: Option<(&'static str, String)>, code: i32) -> Result<String> {
        let settings = self.with(other);
        let settings: Vec<(&str, &str)> = settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let args: Vec<&str> = args.split(' ').collect();
        let answer = self.stage.tidemark_with(&args, &settings).await?;
        ensure!(answer.code == code, "{args:?}: {answer:?}");
        self.output += &format!("{args:?}\n{}\n{}\n", answer.stdout, answer.stderr);
        Ok(answer.stdout)
    }

    fn start(&self, args: &[&str], other: Option<(&'static str, String)>) -> Result<Process> {
        let settings = self.with(other);
        let settings: Vec<(&str, &str)> = settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        self.stage.start_into(&self.log, args, &settings)
    }

    /// Keeps the HTTP responses of a process.
    async fn ask(&mut self, role: &'static str) -> Result<()> {
        let address = address_of(self.stage, role).await?;
        for path in ["/metrics", "/readyz", "/livez"] {
            let answer = get(&address, path, "*/*").await?;
            ensure!(!answer.body.is_empty(), "{role} {path}: {answer:?}");
            self.output += &answer.body;
        }
        Ok(())
    }

    /// Keeps every column of every table of ledger and target, and the servers' views of their sessions.
    async fn read_tables(&mut self) -> Result<()> {
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace \
             UNION ALL SELECT '(SELECT * FROM pg_stat_activity WHERE application_name LIKE ''tidemark%'')'",
        )
        .fetch_all(&self.stage.target)
        .await?;
        ensure!(tables.len() > 10, "{tables:?}");
        for table in tables {
            let rows: Option<String> = sqlx::query_scalar(AssertSqlSafe(format!(
                "SELECT string_agg(t::text, E'\\n') FROM {table} t"
            )))
            .fetch_one(&self.stage.target)
            .await?;
            self.output += &rows.unwrap_or_default();
        }
        Ok(())
    }
}

#[tokio::test]
async fn no_password_is_found_in_any_output_log_trace_metric_or_table_of_a_session() {
    let servers = PasswordServers::start()
        .await
        .expect("two servers that ask for passwords");
    on_servers(servers.urls().expect("they have URLs"), |stage| async move {
        stage.sample(80, 2, 23).await?;
        let login = stage.login().to_owned();
        let fleet = password("fleet").replace('\'', "''");
        stage
            .target
            .execute(AssertSqlSafe(format!("ALTER ROLE {login} PASSWORD '{fleet}'")))
            .await?;
        let collector = Collector::grpc().await?;
        let target = with_password(&stage.url("target"), &login, &password("fleet"))?;
        let broker = with_password(stage.amqp_url(), "fleet", &password("broker"))?;
        let log_path = std::env::temp_dir().join(format!("{login}.log"));
        let mut session = Session {
            stage: &stage,
            settings: vec![
                ("TIDEMARK_DATABASE_URL", target.clone()),
                ("TIDEMARK_SOURCE_URL", stage.url("source")),
                ("TIDEMARK_AMQP_URL", broker.clone()),
                ("TIDEMARK_HTTP_LISTEN", "127.0.0.1:0".to_owned()),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.clone()),
                ("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization={MARK}")),
                ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
                ("RUST_LOG", "trace".to_owned()),
            ],
            log: File::options().create(true).append(true).open(&log_path)?,
            log_path,
            output: String::new(),
        };
        let wrong_source = with_password(&stage.url("source"), "postgres", &password("wrong"))?;
        let wrong_target = with_password(&target, &login, &password("wrong"))?;
        let wrong_broker = with_password(&broker, "fleet", &password("wrong"))?;

        // every server refuses these passwords
        for process in ["worker", "producer", "finalizer"] {
            let refused = Some(("TIDEMARK_DATABASE_URL", wrong_target.clone()));
            session.run(process, refused, 78).await?;
            let refused = Some(("TIDEMARK_AMQP_URL", wrong_broker.clone()));
            session.run(process, refused, 78).await?;
        }
        let refused = Some(("TIDEMARK_SOURCE_URL", wrong_source.clone()));
        session.run("sync --local --all", refused, 78).await?;
        // servers that are away, and URLs that cannot be read
        let nowhere = broker.replacen(
            &url::Url::parse(&broker)?.port().unwrap_or_default().to_string(),
            "1",
            1,
        );
        session
            .run("dead list", Some(("TIDEMARK_AMQP_URL", nowhere)), 69)
            .await?;
        let with_bad_port = |url: &str| url.replacen("127.0.0.1:", "127.0.0.1:x", 1);
        for (command, name, url) in [
            (
                "status",
                "TIDEMARK_DATABASE_URL",
                target.replacen("postgres", "mysql", 1),
            ),
            ("status", "TIDEMARK_DATABASE_URL", with_bad_port(&target)),
            ("dead list", "TIDEMARK_AMQP_URL", with_bad_port(&broker)),
        ] {
            session.run(command, Some((name, url)), 78).await?;
        }

        // a fleet, and another producer that the source refuses
        let mut fleet = stage.fleet(&[])?;
        for role in ["producer", "worker", "finalizer"] {
            fleet.take_in(session.start(&[role], None)?);
        }
        session.run("sync --all --wait --json", None, 0).await?;
        let refused = session.start(&["producer"], Some(("TIDEMARK_SOURCE_URL", wrong_source)))?;
        stage
            .until("SELECT bool_or(error IS NOT NULL) FROM etl_source_watch")
            .await?;
        refused.stop().await?;
        // a run that fails at the source, with an error of the source's own
        stage
            .source
            .execute("ALTER TABLE messages RENAME COLUMN content TO words")
            .await?;
        session
            .run("sync --tenant 1 --full --wait --json", None, 1)
            .await?;
        stage
            .source
            .execute("ALTER TABLE messages RENAME COLUMN words TO content")
            .await?;
        session.run("sync --all --full --wait --json", None, 0).await?;
        for role in ["producer", "worker", "finalizer"] {
            session.ask(role).await?;
        }
        for asked in [
            "status --json",
            "run list --json",
            "run show 3 --json",
            "dead list",
            "tenant list",
            "verify --all",
        ] {
            session.run(asked, None, 0).await?;
        }
        session.read_tables().await?;
        fleet.stop().await?;

        session.output += &collector.text();
        ensure!(collector.spans().len() > 20, "nothing was exported");
        let logged = std::fs::read_to_string(&session.log_path).context("read what was logged")?;
        std::fs::remove_file(&session.log_path)?;
        ensure!(logged.lines().count() > 200, "hardly anything was logged");
        session.output += &logged;
        for part in TRACES_OF_IT {
            let found = session.output.lines().find(|line| line.contains(part));
            ensure!(found.is_none(), "`{part}` of a password: {found:?}");
        }
        Ok(())
    })
    .await;
}
