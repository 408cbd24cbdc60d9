//! Settings from a flag, else the environment (`TIDEMARK_…`), else `tidemark.toml`. Only this module reads the environment.

mod console;
mod error;
mod limits;
mod meaning;
mod new_file;
mod producer;
mod read;
mod retention;
mod secret_file;
mod source;
mod url_file;
mod value;
mod worker;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use tidemark_net::url::ServerUrl;
use tidemark_postgres::connect::DatabasePooler;

pub use self::console::{ConsoleAuth, ConsoleSettings};
pub use self::error::ConfigError;
pub use self::limits::duration_within;
pub use self::new_file::{AMQP_URL, DATABASE_URL, NewFile, SOURCE_URL, UrlPlace, variable_that_sets};
pub use self::producer::ProducerSettings;
use self::read::{VARIABLES, holds_secret, read_table, scalar, set, without_url};
pub use self::retention::RetentionSettings;
pub use self::source::{SourceMode, SourceSettings};
use self::url_file::UrlFiles;
pub use self::value::Listen;
use self::value::listen;
pub use self::worker::WorkerSettings;

/// Every setting, with its default. Durations are written `30s`, `5m`, `1h`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The database with ledger and target.
    pub database_url: Option<ServerUrl>,
    /// Connections to that database for each process.
    pub database_max_connections: u32,
    /// The kind of pooler in front of that database, if any.
    pub database_pooler: DatabasePooler,
    pub amqp_url: Option<ServerUrl>,
    /// The key from which each tenant's key for hashing personal data is derived.
    pub privacy_key: Option<SecretString>,
    /// The key from which each webhook's key for signing is derived.
    pub webhook_key: Option<SecretString>,
    /// The address of the console, for links in messages of webhooks.
    pub webhook_console_url: Option<String>,
    /// RabbitMQ's HTTP API, for `doctor`.
    pub amqp_management_url: Option<ServerUrl>,
    /// First part of the names of queues and exchanges, so that two installations can share a broker.
    pub amqp_prefix: String,
    /// Address for health and metrics; `None` when not set.
    #[serde(deserialize_with = "listen")]
    pub http_listen: Option<Listen>,
    /// Whether the fleet's metrics have a series for each tenant.
    pub metrics_per_tenant: bool,
    /// When `None`: text on a terminal and for commands, JSON otherwise.
    pub log_format: Option<LogFormat>,
    /// The address of a trace's page, with `{trace_id}` in it.
    pub trace_url: Option<String>,
    /// The database of the Python script, for `import-legacy`.
    pub legacy_url: Option<ServerUrl>,
    /// By name. Each tenant names its source.
    pub sources: BTreeMap<String, SourceSettings>,
    pub worker: WorkerSettings,
    pub producer: ProducerSettings,
    pub retention: RetentionSettings,
    pub console: ConsoleSettings,
    /// Secret files that others than their owner may read or change.
    #[serde(skip)]
    pub exposed_secret_files: Vec<PathBuf>,
}

/// The format of the log on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Pretty,
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            database_url: None,
            database_max_connections: 12,
            database_pooler: DatabasePooler::None,
            amqp_url: None,
            privacy_key: None,
            webhook_key: None,
            webhook_console_url: None,
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
            console: ConsoleSettings::default(),
            exposed_secret_files: Vec::new(),
        }
    }
}

/// Minimum length of a key. There are few phone numbers, so anybody who guesses the privacy key can try them all. Whoever
/// guesses the other one can forge messages of webhooks.
const KEY_MIN: usize = 32;

/// Placeholder for the trace id in `trace_url`.
const TRACE_ID: &str = "{trace_id}";

impl Settings {
    /// Reads `file`, or `tidemark.toml` in the working directory if it exists. The environment overrides the file. Errors
    /// contain no secret.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        #[expect(clippy::disallowed_methods, reason = "only this module reads the environment")]
        Self::load_with(file, |name| std::env::var(name).ok())
    }

    /// [`Self::load`] with the environment as a parameter.
    pub fn load_with(file: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let found = file.or_else(|| Some(Path::new("tidemark.toml")).filter(|path| path.exists()));
        Self::merge(found, env)
    }

    fn merge(found: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut table = found.map(read_table).transpose()?.unwrap_or_default();
        let mut url_files = found.map_or_else(UrlFiles::default, |path| UrlFiles::of_table(path, &table));
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
                let file = PathBuf::from(raw);
                let secret = secret_file::read(&file)?;
                url_files.insert_text(path, file.clone());
                secret_files.push(file);
                secret
            } else {
                url_files.remove(path);
                raw
            };
            set(&mut table, path, scalar(path, value));
        }
        limits::check(&table)?;
        let mut settings: Self = table
            .try_into()
            .map_err(|error: toml::de::Error| ConfigError::Value(without_url(error.message())))?;
        settings.name_url_files(url_files);
        secret_files.retain(|path| secret_file::is_exposed(path));
        settings.exposed_secret_files = secret_files;
        settings.validate()?;
        Ok(settings)
    }

    /// Tells each URL the file that it came from.
    fn name_url_files(&mut self, mut files: UrlFiles) {
        let own: [(&[&str], _); 5] = [
            (&["database_url"], &mut self.database_url),
            (&["amqp_url"], &mut self.amqp_url),
            (&["amqp_management_url"], &mut self.amqp_management_url),
            (&["legacy_url"], &mut self.legacy_url),
            (
                &["console", "tenant_database_url"],
                &mut self.console.tenant_database_url,
            ),
        ];
        for (path, url) in own {
            files.name(path, url);
        }
        for (name, source) in &mut self.sources {
            files.name(&["sources", name, "url"], &mut source.url);
        }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let is_weak = |key: &SecretString| key.expose_secret().chars().count() < KEY_MIN;
        for (name, key) in [
            ("privacy_key", &self.privacy_key),
            ("webhook_key", &self.webhook_key),
        ] {
            if key.as_ref().is_some_and(is_weak) {
                return Err(ConfigError::Value(format!(
                    "{name} has fewer than {KEY_MIN} characters: create one with `openssl rand -hex 32`"
                )));
            }
        }
        let is_web = |url: &String| url.starts_with("https://") || url.starts_with("http://");
        if self.webhook_console_url.as_ref().is_some_and(|url| !is_web(url)) {
            let text = "webhook_console_url is no address: write one such as https://tidemark.example.com";
            return Err(ConfigError::Value(text.to_owned()));
        }
        if self.trace_url.as_ref().is_some_and(|url| !url.contains(TRACE_ID)) {
            return Err(ConfigError::Value(format!("trace_url lacks `{TRACE_ID}`")));
        }
        self.console.check().map_err(ConfigError::Value)?;
        for (name, source) in &self.sources {
            if source.mode == SourceMode::View && source.view.is_none() {
                return Err(ConfigError::Value(format!(
                    "sources.{name}.view is needed with mode `view`"
                )));
            }
        }
        Ok(())
    }

    /// The address of a trace's page, if `trace_url` is set.
    #[must_use]
    pub fn trace_link(&self, trace_id: &str) -> Option<String> {
        Some(self.trace_url.as_ref()?.replace(TRACE_ID, trace_id))
    }

    pub fn database_url(&self) -> Result<&ServerUrl, ConfigError> {
        self.database_url
            .as_ref()
            .ok_or(ConfigError::Missing("TIDEMARK_DATABASE_URL", "database_url"))
    }

    pub fn amqp_url(&self) -> Result<&ServerUrl, ConfigError> {
        self.amqp_url
            .as_ref()
            .ok_or(ConfigError::Missing("TIDEMARK_AMQP_URL", "amqp_url"))
    }

    /// The settings and URL of a source. A source without a URL counts as not configured.
    pub fn source(&self, name: &str) -> Result<(&SourceSettings, &ServerUrl), ConfigError> {
        self.sources
            .get(name)
            .and_then(|settings| settings.url.as_ref().map(|url| (settings, url)))
            .ok_or_else(|| ConfigError::UnknownSource(name.to_owned()))
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn load(pairs: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let pairs: BTreeMap<String, String> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Settings::load_with(None, |name| pairs.get(name).cloned())
    }

    #[test]
    fn variables_of_the_source_set_the_source_main() {
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
    fn a_boolean_comes_from_the_environment() {
        let per_tenant =
            |text| load(&[("TIDEMARK_METRICS_PER_TENANT", text)]).map(|settings| settings.metrics_per_tenant);
        assert!(per_tenant("true").unwrap());
        assert!(!per_tenant("false").unwrap());
        assert!(per_tenant("perhaps").is_err());
    }

    #[test]
    fn a_url_knows_its_file_and_one_of_the_environment_has_none() {
        let dir = std::env::temp_dir().join(format!("tidemark-urls-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&dir).unwrap();
        let (toml, secret) = (dir.join("tidemark.toml"), dir.join("amqp"));
        std::fs::write(
            &toml,
            "database_url = 'postgres://old'\namqp_url = 'amqp://toml'\n[sources.two]\nurl = 'postgres://two'\n",
        )
        .unwrap();
        std::fs::write(&secret, "amqp://old\n").unwrap();
        let settings = Settings::load_with(Some(&toml), |name| match name {
            "TIDEMARK_AMQP_URL_FILE" => Some(secret.to_str().unwrap().to_owned()),
            "TIDEMARK_SOURCE_URL" => Some("postgres://main".to_owned()),
            _ => None,
        })
        .unwrap();
        let two = settings.source("two").unwrap().1;
        assert_eq!(two.file(), Some(toml.as_path()));
        assert_eq!(settings.amqp_url().unwrap().file(), Some(secret.as_path()));
        assert_eq!(settings.source("main").unwrap().1.file(), None);

        std::fs::write(&toml, "[sources.two]\nurl = 'postgres://new'\n").unwrap();
        std::fs::write(&secret, "amqp://new\n").unwrap();
        let again = |url: &ServerUrl| {
            url.read_again()
                .map(|text| text.unwrap().expose_secret().to_owned())
        };
        assert_eq!(again(two).unwrap(), "postgres://new");
        assert_eq!(again(settings.amqp_url().unwrap()).unwrap(), "amqp://new");
        let gone = again(settings.database_url().unwrap()).unwrap_err();
        assert!(gone.source.to_string().contains("database_url"), "{gone:?}");
        std::fs::write(&toml, "[sources.two]\nurl = 'postgres://u:s3cret@\n").unwrap();
        let broken = again(two).unwrap_err();
        assert!(!format!("{broken} {broken:?}").contains("s3cret"), "{broken:?}");
        std::fs::remove_dir_all(&dir).unwrap();
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
