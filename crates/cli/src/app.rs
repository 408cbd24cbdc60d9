//! What every command needs: settings, an identity, connections.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;
use tidemark_broker::{Queue, RabbitQueue, RabbitSettings};
use tidemark_ledger as ledger;
use tidemark_ledger::connect::pool;
use tidemark_ledger::isolation;
use tidemark_net::tls::Exposure;
use tidemark_net::url::server_name;
use tidemark_postgres::DbPool;
use tidemark_postgres::connect::{exposure, options};
use tidemark_runtime::config::{Settings, SourceSettings, WorkerSettings};
use tidemark_runtime::telemetry::{Scrape, Telemetry, Verbosity};
use tidemark_shared::ids::TenantId;
use tidemark_shared::tenant::Tenant;
use tidemark_source::Sources;

use crate::exit::{SetupError, UsageError};

/// Settings that a flag may give; what is not given comes from the environment, else from the file.
#[derive(Debug, clap::Args)]
pub struct Globals {
    /// Settings file [default: tidemark.toml, when there is one]
    #[arg(long, global = true, env = "TIDEMARK_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Ledger and target database [env: TIDEMARK_DATABASE_URL, TIDEMARK_DATABASE_URL_FILE]
    #[arg(long, global = true, value_name = "URL")]
    pub database_url: Option<SecretString>,
    /// RabbitMQ [env: TIDEMARK_AMQP_URL, TIDEMARK_AMQP_URL_FILE]
    #[arg(long, global = true, value_name = "URL")]
    pub amqp_url: Option<SecretString>,
    /// The source named `main` [env: TIDEMARK_SOURCE_URL, TIDEMARK_SOURCE_URL_FILE]
    #[arg(long, global = true, value_name = "URL")]
    pub source_url: Option<SecretString>,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// A command's surroundings.
#[derive(Debug)]
pub struct App {
    pub settings: Settings,
    pub json: bool,
    /// This process among all: host and process id.
    pub instance: String,
    pub host: String,
    role: &'static str,
    telemetry: Telemetry,
}

impl App {
    /// Reads the settings and starts logging.
    pub fn start(globals: Globals, role: &'static str, verbosity: Verbosity) -> anyhow::Result<Self> {
        let mut settings = Settings::load(globals.config.as_deref())?;
        settings.database_url = globals.database_url.or(settings.database_url);
        settings.amqp_url = globals.amqp_url.or(settings.amqp_url);
        if let Some(url) = globals.source_url {
            settings
                .sources
                .entry("main".to_owned())
                .or_insert_with(SourceSettings::default)
                .url = Some(url);
        }
        let host = host_name();
        let instance = format!("{host}/{role}/{}", std::process::id());
        let telemetry = Telemetry::init(role, &instance, verbosity, settings.log_format)?;
        Ok(Self {
            settings,
            json: globals.json,
            instance,
            host,
            role,
            telemetry,
        })
    }

    /// What this process counts; `None` for a command.
    pub fn scrape(&self) -> Option<Scrape> {
        self.telemetry.scrape()
    }

    /// Flushes what is still to be exported.
    pub async fn end(self) {
        self.telemetry.shutdown().await;
    }

    /// The ledger and target, checked to be reachable and migrated, with connections enough for so many chunks at a time,
    /// less those that their loads have for themselves.
    pub async fn database(&self, concurrency: u16) -> anyhow::Result<DbPool> {
        // a chunk holds a connection for its load while its lease is renewed on another
        let needed = 2 * u32::from(concurrency) + 8;
        let loads = if concurrency > 0 {
            let worker = WorkerSettings {
                concurrency,
                ..WorkerSettings::default()
            };
            u32::from(worker.loads())
        } else {
            0
        };
        let connections = self.settings.database_max_connections.max(needed) - loads;
        let pooler = self.settings.database_pooler;
        Ok(pool(self.settings.database_url()?, self.role, connections, pooler).await?)
    }

    /// [`Self::database`] for who moves rows of tenants: it has to keep them apart.
    ///
    /// Findings that do not matter that much are logged.
    pub async fn isolated_database(&self, concurrency: u16) -> anyhow::Result<DbPool> {
        let db = self.database(concurrency).await?;
        let findings = isolation::check(&db).await?;
        if let Some(refusal) = isolation::refusal(&findings) {
            return Err(SetupError(refusal).into());
        }
        for finding in findings {
            tracing::warn!(finding.what, finding.mend, "tenants could be kept apart better");
        }
        Ok(db)
    }

    pub fn sources(&self) -> anyhow::Result<Arc<Sources>> {
        Ok(Arc::new(Sources::new(&self.settings, self.role)?))
    }

    /// RabbitMQ as it is set, not looked at yet.
    pub fn rabbit(&self) -> anyhow::Result<RabbitQueue> {
        let mut settings = RabbitSettings::new(self.settings.amqp_url()?.clone());
        settings.prefix.clone_from(&self.settings.amqp_prefix);
        settings.connection_name.clone_from(&self.instance);
        Ok(RabbitQueue::new(&settings)?)
    }

    /// RabbitMQ, its credentials checked. A broker that is away is waited for, since chunks wait in the ledger.
    pub async fn queue(&self) -> anyhow::Result<Arc<dyn Queue>> {
        let queue: Arc<dyn Queue> = Arc::new(self.rabbit()?);
        match queue.check().await {
            Err(error) if error.is_configuration() => return Err(error.into()),
            Err(error) => {
                tracing::warn!(error = %tidemark_postgres::report::report(&error), "broker away, trying on");
            }
            Ok(()) => {}
        }
        Ok(queue)
    }

    /// Says what of the settings is open to others: connections in plain text, files with secrets.
    pub fn warn_of_exposure(&self) -> anyhow::Result<()> {
        for path in &self.settings.open_files {
            let path = path.display();
            tracing::warn!(%path, "a file with a secret is open to others on this machine: chmod 600 it");
        }
        let warn = |server: &str, exposure: Exposure| {
            tracing::warn!(server, exposure = %exposure, "connection not protected: see TLS in docs/install.md");
        };
        if let Some(url) = &self.settings.database_url
            && let Some(exposure) = exposure(&options(url, "the analytics database")?)
        {
            warn(&server_name(url), exposure);
        }
        for source in self.sources()?.iter() {
            if let Some(exposure) = source.exposure() {
                warn(source.server(), exposure);
            }
        }
        if self.settings.amqp_url.is_some() {
            for (server, exposure) in self.rabbit()?.exposed() {
                warn(&server, exposure);
            }
        }
        Ok(())
    }

    /// Who acts, for the ledger's records.
    pub fn actor(&self) -> String {
        format!("cli:{}", self.instance)
    }

    /// A tenant that must exist.
    pub async fn tenant(&self, db: &DbPool, id: TenantId) -> anyhow::Result<Tenant> {
        ledger::tenant::find(db, id).await?.ok_or_else(|| {
            UsageError(format!(
                "there is no tenant {id}: `tidemark tenant list` shows those there are"
            ))
            .into()
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the host's name is no setting")]
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_else(|| "localhost".to_owned())
}
