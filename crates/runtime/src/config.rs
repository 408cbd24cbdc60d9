//! Settings: flag, else environment (`TIDEMARK_…`), else `tidemark.toml`. The only reader of the environment.

mod limits;
mod read;
mod retention;
mod secret_file;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::Deserializer;

use tidemark_postgres::connect::DatabasePooler;
use tidemark_postgres::ident::RelationName;

pub use self::limits::duration_within;
use self::read::{VARIABLES, holds_secret, read_table, scalar, set, without_url};
pub use self::retention::RetentionSettings;

/// Every setting, with its default. Durations are written `30s`, `5m`, `1h`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Ledger and target.
    pub database_url: Option<SecretString>,
    /// Connections to the ledger and target, a process.
    pub database_max_connections: u32,
    /// Whether a pooler is between the processes and that database.
    pub database_pooler: DatabasePooler,
    pub amqp_url: Option<SecretString>,
    /// Tenants' keys are derived from it, under which personal data is hashed.
    pub privacy_key: Option<SecretString>,
    /// RabbitMQ's HTTP API, for `doctor`.
    pub amqp_management_url: Option<SecretString>,
    /// First part of the names of queues and exchanges: two installations may share a broker.
    pub amqp_prefix: String,
    /// Where health and metrics are answered for; `None`: nobody said.
    #[serde(deserialize_with = "listen")]
    pub http_listen: Option<Listen>,
    /// Whether the metrics of the fleet have series for each tenant.
    pub metrics_per_tenant: bool,
    /// `None`: for people on a terminal and from commands, JSON otherwise.
    pub log_format: Option<LogFormat>,
    /// Where a trace can be looked at: an address with `{trace_id}` in it.
    pub trace_url: Option<String>,
    /// The database of the Python script, for `import-legacy`.
    pub legacy_url: Option<SecretString>,
    /// By name; tenants say which is theirs.
    pub sources: BTreeMap<String, SourceSettings>,
    pub worker: WorkerSettings,
    pub producer: ProducerSettings,
    pub retention: RetentionSettings,
    /// Files of secrets that others than their owner may read or change.
    #[serde(skip)]
    pub open_files: Vec<PathBuf>,
}

/// How the log on stderr looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Pretty,
    Json,
}

/// An address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    Off,
    At(SocketAddr),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceSettings {
    pub url: Option<SecretString>,
    pub mode: SourceMode,
    /// Name of the view, for `mode = "view"`; may be qualified by a schema.
    pub view: Option<RelationName>,
    /// Connections to this source, a process.
    pub max_connections: u32,
    /// Bound of one statement on the source.
    #[serde(deserialize_with = "duration")]
    pub statement_timeout: Duration,
    /// Chunks of this source that may be queued or running at once, over the whole fleet.
    pub max_in_flight: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceMode {
    /// Chatwoot's own tables.
    Tables,
    /// A published view.
    View,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerSettings {
    /// Chunks of a lane that are read at a time, a process.
    pub concurrency: u16,
    /// How long a claim holds without renewal; it is renewed three times in that span.
    #[serde(deserialize_with = "duration")]
    pub lease: Duration,
    /// How long a chunk may go on after the first SIGTERM.
    #[serde(deserialize_with = "duration")]
    pub shutdown_grace: Duration,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProducerSettings {
    /// Pause between two looks at the ledger when nothing wakes a loop earlier.
    #[serde(deserialize_with = "duration")]
    pub tick: Duration,
    /// Pause between two samples of a source's fence.
    #[serde(deserialize_with = "duration")]
    pub fence_interval: Duration,
    /// How long a plan waits for its own sample to qualify when no older one does.
    #[serde(deserialize_with = "duration")]
    pub fence_wait: Duration,
    /// The watermark stays at least this far behind the source's clock.
    #[serde(deserialize_with = "duration")]
    pub safety_lag: Duration,
    /// Messages created this long before the watermark are looked at for later edits.
    #[serde(deserialize_with = "duration")]
    pub message_edit_window: Duration,
    /// Within this time after a tenant's digests were compared, its incremental runs take what change signals name, and
    /// compare nothing.
    #[serde(deserialize_with = "duration")]
    pub digest_interval: Duration,
    /// Chunks that may be queued or running at once, over the whole fleet.
    pub max_in_flight: i32,
    /// How long a published chunk may wait for a worker before it is published again.
    #[serde(deserialize_with = "duration")]
    pub requeue_after: Duration,
    /// Leases a chunk may lose before it is dead: it seems to kill its workers.
    pub max_lost: i32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            database_url: None,
            database_max_connections: 12,
            database_pooler: DatabasePooler::None,
            amqp_url: None,
            privacy_key: None,
            amqp_management_url: None,
            amqp_prefix: "tidemark".into(),
            http_listen: None,
            metrics_per_tenant: false,
            log_format: None,
            trace_url: None,
            legacy_url: None,
            sources: BTreeMap::new(),
            worker: WorkerSettings::default(),
            producer: ProducerSettings::default(),
            retention: RetentionSettings::default(),
            open_files: Vec::new(),
        }
    }
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self {
            url: None,
            mode: SourceMode::Tables,
            view: None,
            max_connections: 8,
            statement_timeout: Duration::from_secs(120),
            max_in_flight: 32,
        }
    }
}

impl WorkerSettings {
    /// Chunks of both lanes that are read at a time: whatever bulk ones are, there is a place for a live one.
    #[must_use]
    pub const fn places(&self) -> u16 {
        self.concurrency.saturating_add(1)
    }

    /// Chunks of both lanes that are loaded at a time: those that are read, and one of each lane that has been.
    #[must_use]
    pub const fn loads(&self) -> u16 {
        self.places().saturating_add(2)
    }
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            concurrency: 2,
            lease: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(20),
        }
    }
}

impl Default for ProducerSettings {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(500),
            fence_interval: Duration::from_secs(5),
            fence_wait: Duration::from_secs(2),
            safety_lag: Duration::ZERO,
            message_edit_window: Duration::from_secs(7 * 24 * 3600),
            digest_interval: Duration::ZERO,
            max_in_flight: 256,
            requeue_after: Duration::from_secs(120),
            max_lost: 5,
        }
    }
}

/// Phone numbers are few: who guesses the key can try them all.
const PRIVACY_KEY_MIN: usize = 32;

/// Stands for the trace in `trace_url`.
const TRACE_ID: &str = "{trace_id}";

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is not valid TOML: {message}", path.display())]
    Syntax { path: PathBuf, message: String },
    #[error("setting not understood: {0}")]
    Value(String),
    #[error("{0} is not set: pass it as an environment variable or in tidemark.toml (`{1}`)")]
    Missing(&'static str, &'static str),
    #[error(
        "source `{0}` is not configured: set sources.{0}.url in tidemark.toml (TIDEMARK_SOURCE_URL names `main`)"
    )]
    UnknownSource(String),
}

impl Settings {
    /// Reads `file` (or `tidemark.toml` in the working directory when there is one), then the environment over it.
    ///
    /// # Errors
    /// When a file cannot be read or parsed, or a value is not understood. No secret is in the text.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the place that reads the environment"
        )]
        Self::load_with(file, |name| std::env::var(name).ok())
    }

    /// [`Self::load`] with the environment as a parameter.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(file: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let found = file.or_else(|| Some(Path::new("tidemark.toml")).filter(|path| path.exists()));
        let mut table = found.map(read_table).transpose()?.unwrap_or_default();
        let mut secret_files: Vec<PathBuf> = found
            .filter(|_| holds_secret(&table))
            .map(Path::to_owned)
            .into_iter()
            .collect();
        for (name, path) in VARIABLES {
            let Some(raw) = env(name).filter(|raw| !raw.is_empty()) else {
                continue;
            };
            let value = if name.ends_with("_FILE") {
                let path = PathBuf::from(raw);
                let secret = secret_file::read(&path)?;
                secret_files.push(path);
                secret
            } else {
                raw
            };
            set(&mut table, path, scalar(path, value));
        }
        limits::check(&table)?;
        let mut settings: Self = table
            .try_into()
            .map_err(|error: toml::de::Error| ConfigError::Value(without_url(error.message())))?;
        secret_files.retain(|path| secret_file::is_open(path));
        settings.open_files = secret_files;
        settings.validate()?;
        Ok(settings)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let is_weak = |key: &SecretString| key.expose_secret().chars().count() < PRIVACY_KEY_MIN;
        if self.privacy_key.as_ref().is_some_and(is_weak) {
            return Err(ConfigError::Value(format!(
                "privacy_key has fewer than {PRIVACY_KEY_MIN} characters: make one with `openssl rand -hex 32`"
            )));
        }
        if self.trace_url.as_ref().is_some_and(|url| !url.contains(TRACE_ID)) {
            return Err(ConfigError::Value(format!("trace_url lacks `{TRACE_ID}`")));
        }
        for (name, source) in &self.sources {
            if source.mode == SourceMode::View && source.view.is_none() {
                return Err(ConfigError::Value(format!(
                    "sources.{name}.view is needed with mode `view`"
                )));
            }
        }
        Ok(())
    }

    /// Where a trace can be looked at, when that is known.
    #[must_use]
    pub fn trace_link(&self, trace_id: &str) -> Option<String> {
        Some(self.trace_url.as_ref()?.replace(TRACE_ID, trace_id))
    }

    /// # Errors
    /// When it is not set.
    pub fn database_url(&self) -> Result<&SecretString, ConfigError> {
        self.database_url
            .as_ref()
            .ok_or(ConfigError::Missing("TIDEMARK_DATABASE_URL", "database_url"))
    }

    /// # Errors
    /// When it is not set.
    pub fn amqp_url(&self) -> Result<&SecretString, ConfigError> {
        self.amqp_url
            .as_ref()
            .ok_or(ConfigError::Missing("TIDEMARK_AMQP_URL", "amqp_url"))
    }

    /// The settings of a source that a tenant names, with its URL.
    ///
    /// # Errors
    /// When it is not configured or has no URL.
    pub fn source(&self, name: &str) -> Result<(&SourceSettings, &SecretString), ConfigError> {
        self.sources
            .get(name)
            .and_then(|settings| settings.url.as_ref().map(|url| (settings, url)))
            .ok_or_else(|| ConfigError::UnknownSource(name.to_owned()))
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer).map_err(|_| {
        serde::de::Error::custom("a duration is written with its unit, such as `30s` or `5m`")
    })?;
    humantime::parse_duration(&text)
        .map_err(|error| serde::de::Error::custom(format!("duration `{text}`: {error}")))
}

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Listen>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "off" {
        return Ok(Some(Listen::Off));
    }
    let address = text.parse().map_err(|_| {
        serde::de::Error::custom(format!(
            "http_listen `{text}`: write an address with its port, such as 0.0.0.0:9464, or `off`"
        ))
    })?;
    Ok(Some(Listen::At(address)))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests {
    use super::*;

    fn load(pairs: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let pairs: BTreeMap<String, String> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Settings::load_with(None, |name| pairs.get(name).cloned())
    }

    #[test]
    fn the_environment_names_the_source_main() {
        let settings = load(&[
            ("TIDEMARK_SOURCE_URL", "postgres://chatwoot:p@ss@db:5433/chatwoot"),
            ("TIDEMARK_WORKER_LEASE", "5s"),
            ("TIDEMARK_WORKER_CONCURRENCY", "7"),
        ])
        .unwrap();
        assert!(settings.source("main").is_ok());
        assert!(matches!(settings.source("other"), Err(ConfigError::UnknownSource(name)) if name == "other"));
        assert_eq!(settings.worker.lease, Duration::from_secs(5));
        assert_eq!(settings.worker.concurrency, 7);
    }

    #[test]
    fn a_value_without_a_unit_or_out_of_range_is_refused() {
        assert!(
            load(&[("TIDEMARK_WORKER_LEASE", "5")])
                .unwrap_err()
                .to_string()
                .contains("unit")
        );
        assert!(
            load(&[("TIDEMARK_WORKER_CONCURRENCY", "0")])
                .unwrap_err()
                .to_string()
                .contains("from 1 to 256 is allowed")
        );
        assert!(
            load(&[("TIDEMARK_SOURCE_MODE", "view")])
                .unwrap_err()
                .to_string()
                .contains("view")
        );
        assert!(
            load(&[("TIDEMARK_SOURCE_VIEW", "other.public.view")])
                .unwrap_err()
                .to_string()
                .contains("name of a view")
        );
    }

    #[test]
    fn an_address_to_listen_on_has_a_port_or_is_off() {
        let listen = |text| load(&[("TIDEMARK_HTTP_LISTEN", text)]).map(|settings| settings.http_listen);
        assert_eq!(listen("off").unwrap(), Some(Listen::Off));
        assert_eq!(
            listen("0.0.0.0:9464").unwrap(),
            Some(Listen::At(([0, 0, 0, 0], 9464).into()))
        );
        assert_eq!(load(&[]).unwrap().http_listen, None);
        for text in ["9464", "localhost", "127.0.0.1"] {
            assert!(
                listen(text).unwrap_err().to_string().contains("http_listen"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_truth_value_comes_from_the_environment() {
        let per_tenant =
            |text| load(&[("TIDEMARK_METRICS_PER_TENANT", text)]).map(|settings| settings.metrics_per_tenant);
        assert!(per_tenant("true").unwrap());
        assert!(!per_tenant("false").unwrap());
        assert!(per_tenant("perhaps").is_err());
    }

    #[test]
    fn a_key_of_digits_stays_a_text_and_a_short_one_is_refused() {
        let key = "0123456789".repeat(4);
        let settings = load(&[("TIDEMARK_PRIVACY_KEY", &key)]).unwrap();
        assert_eq!(settings.privacy_key.unwrap().expose_secret(), key);
        let error = load(&[("TIDEMARK_PRIVACY_KEY", "hunter2")])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("privacy_key") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
