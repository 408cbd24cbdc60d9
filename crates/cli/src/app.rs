//! The settings, the identity and the connections of a command.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::ExposeSecret;
use tidemark_broker::{Queue, RabbitQueue, RabbitSettings};
use tidemark_console::{NoTenantPages, OpenRabbit, OpenTenantPages};
use tidemark_ledger::connect::{ActAs, OpenError, grant_to_login, pool, pool_as};
use tidemark_ledger::isolation;
use tidemark_ledger::tenant_page::find_power;
use tidemark_net::tls::Exposure;
use tidemark_net::url::ServerUrl;
use tidemark_postgres::report::report;
use tidemark_postgres::{Connector, DbPool};
use tidemark_runtime::config::{Settings, SourceSettings, WorkerSettings};
use tidemark_runtime::telemetry::{Scrape, Telemetry, Verbosity};
use tidemark_shared::audit::Actor;
use tidemark_source::Sources;

use crate::exit::SetupError;

/// Settings that flags override; without a flag the environment is used, and then the file.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Settings file [default: tidemark.toml, if it exists]
    #[arg(long, global = true, env = "TIDEMARK_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Analytics database, with the ledger and the target [env: TIDEMARK_DATABASE_URL, TIDEMARK_DATABASE_URL_FILE]
    #[arg(long, global = true, value_name = "URL")]
    pub database_url: Option<ServerUrl>,
    /// RabbitMQ [env: TIDEMARK_AMQP_URL, TIDEMARK_AMQP_URL_FILE]
    #[arg(long, global = true, value_name = "URL")]
    pub amqp_url: Option<ServerUrl>,
    /// Source database named `main` [env: TIDEMARK_SOURCE_URL, TIDEMARK_SOURCE_URL_FILE]
    #[arg(long, global = true, value_name = "URL")]
    pub source_url: Option<ServerUrl>,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// The context of a command.
#[derive(Debug)]
pub struct App {
    pub settings: Settings,
    pub json: bool,
    /// Identifies this process: host, role and process id.
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

    /// The metrics of this process; `None` for a command that ends by itself.
    pub fn scrape(&self) -> Option<Scrape> {
        self.telemetry.scrape()
    }

    /// Exports the remaining telemetry.
    pub async fn end(self) {
        self.telemetry.shutdown().await;
    }

    /// A pool on the analytics database, after a check that it is reachable and migrated.
    ///
    /// `concurrency`: chunks executed at a time. Loads have connections of their own, which the pool is reduced by.
    pub async fn database(&self, concurrency: u16) -> anyhow::Result<DbPool> {
        // one connection for the load of a chunk, and one to renew its lease
        let needed = 2 * u32::from(concurrency) + 8;
        let loads = if concurrency > 0 {
            let worker = WorkerSettings {
                concurrency,
                ..WorkerSettings::default()
            };
            u32::from(worker.load_permits())
        } else {
            0
        };
        let connections = self.settings.database_max_connections.max(needed) - loads;
        let pooler = self.settings.database_pooler;
        Ok(pool(self.settings.database_url()?, self.role, connections, pooler).await?)
    }

    /// [`Self::database`] for processes that move rows, with [`check_isolation`].
    pub async fn isolated_database(&self, concurrency: u16) -> anyhow::Result<DbPool> {
        let db = self.database(concurrency).await?;
        check_isolation(&db).await?;
        Ok(db)
    }

    /// A pool that acts as the console, with its own tables beside those of the processes.
    pub async fn console_database(&self) -> anyhow::Result<DbPool> {
        const CONNECTIONS: u32 = 10;
        let (url, pooler) = (self.settings.database_url()?, self.settings.database_pooler);
        Ok(pool_as(ActAs::Console, url, self.role, CONNECTIONS, pooler).await?)
    }

    /// Opens the pool of tenants' pages, which reads one tenant's rows at a time and writes nothing. `up` and `demo` serve one
    /// installation with one login, which then acts as `authenticated_users`. Elsewhere the setting names a login that can do no
    /// more.
    pub fn tenant_pages(&self) -> OpenTenantPages {
        const CONNECTIONS: u32 = 6;
        let own = self
            .settings
            .database_url
            .clone()
            .filter(|_| ["up", "demo"].contains(&self.role));
        let named = self.settings.console.tenant_database_url.clone();
        let text = |url: &Option<ServerUrl>| url.as_ref().map(|url| url.secret().expose_secret().to_owned());
        let is_shared = named.is_none() || text(&named) == text(&self.settings.database_url);
        let (url, pooler) = (named.or(own), self.settings.database_pooler);
        Arc::new(move || {
            let url = url.clone();
            Box::pin(async move {
                let url = url.ok_or(NoTenantPages::NotSet)?;
                let open = || pool_as(ActAs::Dashboard, &url, "tenant pages", CONNECTIONS, pooler);
                let mut opened = open().await;
                let lacks_role = matches!(opened, Err(OpenError::Role { .. }));
                if lacks_role && is_shared && grant_to_login(ActAs::Dashboard, &url).await {
                    opened = open().await;
                }
                let db = opened.map_err(|error| match error {
                    OpenError::Connect(_) => NoTenantPages::Away(report(&error)),
                    _ => NoTenantPages::Wrong(report(&error)),
                })?;
                if is_shared {
                    return Ok(db);
                }
                match find_power(&db).await {
                    Ok(None) => Ok(db),
                    Ok(Some(power)) => Err(NoTenantPages::Wrong(format!(
                        "the login of console.tenant_database_url may do more than read one tenant's rows: {power}; give it a login \
                         that is a member of authenticated_users alone"
                    ))),
                    Err(error) => Err(NoTenantPages::Away(report(&error))),
                }
            })
        })
    }

    pub fn sources(&self) -> anyhow::Result<Arc<Sources>> {
        Ok(Arc::new(Sources::new(&self.settings, self.role)?))
    }

    /// RabbitMQ as configured; does not connect.
    pub fn rabbit(&self) -> anyhow::Result<RabbitQueue> {
        Ok(RabbitQueue::new(&self.rabbit_settings()?)?)
    }

    fn rabbit_settings(&self) -> anyhow::Result<RabbitSettings> {
        rabbit_settings(&self.settings, &self.instance)
    }

    /// Connects to RabbitMQ for a command of the console.
    pub fn rabbit_for_commands(&self) -> OpenRabbit {
        let settings = self.rabbit_settings().map_err(|error| format!("{error:#}"));
        Arc::new(move || {
            let settings = settings.clone()?;
            RabbitQueue::new(&settings).map_err(|error| tidemark_postgres::report::report(&error))
        })
    }

    /// RabbitMQ, after a check of its credentials. A broker that is away is no error: chunks wait in the ledger.
    pub async fn queue(&self) -> anyhow::Result<Arc<dyn Queue>> {
        let queue: Arc<dyn Queue> = Arc::new(self.rabbit()?);
        match queue.check().await {
            Err(error) if error.is_configuration() => return Err(error.into()),
            Err(error) => {
                tracing::warn!(error = %tidemark_postgres::report::report(&error), "broker away, retrying");
            }
            Ok(()) => {}
        }
        Ok(queue)
    }

    /// Warns about plaintext connections and readable secret files.
    pub fn warn_of_exposure(&self) -> anyhow::Result<()> {
        for path in &self.settings.exposed_secret_files {
            let path = path.display();
            tracing::warn!(%path, "others on this machine can read a file with a secret: chmod 600 it");
        }
        let warn = |server: &str, exposure: Exposure| {
            tracing::warn!(server, exposure = %exposure, "connection not protected: see TLS in docs/install.md");
        };
        if let Some(url) = &self.settings.database_url {
            let connector = Connector::new(url, "the analytics database", true, |options| options)?;
            if let Some(exposure) = connector.exposure() {
                warn(connector.server(), exposure);
            }
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

    /// The author of changes, for the ledger's records.
    pub fn actor(&self) -> Actor {
        Actor::cli(&self.instance, Some(origin(&self.host)))
    }
}

/// Fails when row-level security does not keep tenants apart. Lesser findings are logged.
pub async fn check_isolation(db: &DbPool) -> anyhow::Result<()> {
    let findings = isolation::check(db).await?;
    if let Some(refusal) = isolation::refusal(&findings) {
        return Err(SetupError(refusal).into());
    }
    for finding in findings {
        tracing::warn!(%finding.problem, finding.fix, "tenants could be kept apart better");
    }
    Ok(())
}

/// RabbitMQ as the settings name it, for a connection with this name.
pub fn rabbit_settings(settings: &Settings, connection_name: &str) -> anyhow::Result<RabbitSettings> {
    let mut rabbit = RabbitSettings::new(settings.amqp_url()?.clone());
    rabbit.prefix.clone_from(&settings.amqp_prefix);
    connection_name.clone_into(&mut rabbit.connection_name);
    Ok(rabbit)
}

/// The machine, with the user who is logged in there where that is known. A container has no such user.
#[expect(clippy::disallowed_methods, reason = "the user's name is no setting")]
fn origin(host: &str) -> String {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.trim().is_empty()));
    user.map_or_else(|| host.to_owned(), |user| format!("{user}@{host}"))
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
