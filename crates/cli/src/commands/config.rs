//! `tidemark config check`: prints the settings without secrets, and asks no server.

use serde::Serialize;
use tidemark_net::url::{ServerUrl, server_name};
use tidemark_postgres::Connector;
use tidemark_postgres::report::report;
use tidemark_runtime::config::{ConsoleSettings, Listen, Settings, SourceMode};
use tidemark_source::Sources;

use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print the settings, and what is missing or wrong; asks no server (`doctor` does)
    Check,
}

/// The field names are a contract with scripts.
#[derive(Debug, Serialize)]
struct Checked {
    settings: Vec<Setting>,
    /// Missing or wrong settings.
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Setting {
    name: String,
    /// Of a URL only host, port and database.
    value: Option<String>,
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let Self::Check = self;
        let checked = Checked {
            settings: settings(&app.settings),
            problems: problems(app),
        };
        if app.json {
            output::json(&checked)?;
        } else {
            let rows = checked
                .settings
                .iter()
                .map(|one| {
                    vec![
                        one.name.clone(),
                        one.value.clone().unwrap_or_else(|| "-".to_owned()),
                    ]
                })
                .collect();
            output::table(&["setting", "value"], &[], rows)?;
            for problem in &checked.problems {
                output::note(problem);
            }
        }
        Ok(if checked.problems.is_empty() {
            Exit::Done
        } else {
            Exit::Configuration
        })
    }
}

fn settings(settings: &Settings) -> Vec<Setting> {
    let url = |url: &Option<ServerUrl>| url.as_ref().map(server_name);
    let duration = |duration: std::time::Duration| Some(humantime::format_duration(duration).to_string());
    let text = |value: &dyn ToString| Some(value.to_string());
    let (worker, producer, retention) = (&settings.worker, &settings.producer, &settings.retention);
    let mut all = vec![
        ("database_url".to_owned(), url(&settings.database_url)),
        (
            "database_max_connections".to_owned(),
            text(&settings.database_max_connections),
        ),
        // a cluster has several URLs in one setting
        (
            "amqp_url".to_owned(),
            settings.amqp_url.as_ref().map(|_| "set".to_owned()),
        ),
        (
            "amqp_management_url".to_owned(),
            url(&settings.amqp_management_url),
        ),
        ("amqp_prefix".to_owned(), text(&settings.amqp_prefix)),
        ("worker.concurrency".to_owned(), text(&worker.concurrency)),
        ("worker.lease".to_owned(), duration(worker.lease)),
        (
            "worker.shutdown_grace".to_owned(),
            duration(worker.shutdown_grace),
        ),
        ("producer.tick".to_owned(), duration(producer.tick)),
        (
            "producer.fence_interval".to_owned(),
            duration(producer.fence_interval),
        ),
        ("producer.fence_wait".to_owned(), duration(producer.fence_wait)),
        ("producer.safety_lag".to_owned(), duration(producer.safety_lag)),
        (
            "producer.message_edit_window".to_owned(),
            duration(producer.message_edit_window),
        ),
        (
            "producer.digest_interval".to_owned(),
            duration(producer.digest_interval),
        ),
        ("producer.max_in_flight".to_owned(), text(&producer.max_in_flight)),
        (
            "producer.requeue_after".to_owned(),
            duration(producer.requeue_after),
        ),
        ("producer.max_lost".to_owned(), text(&producer.max_lost)),
        ("retention.success".to_owned(), duration(retention.success)),
        ("retention.failed".to_owned(), duration(retention.failed)),
        ("retention.audit".to_owned(), duration(retention.audit)),
        ("retention.changes".to_owned(), duration(retention.changes)),
        (
            "retention.prune_every".to_owned(),
            duration(retention.prune_every),
        ),
    ];
    all.extend(console(&settings.console));
    for (name, source) in &settings.sources {
        let mode = match source.mode {
            SourceMode::Tables => "tables",
            SourceMode::View => "view",
        };
        all.extend([
            (format!("sources.{name}.url"), url(&source.url)),
            (format!("sources.{name}.mode"), Some(mode.to_owned())),
            (
                format!("sources.{name}.view"),
                source.view.as_ref().map(ToString::to_string),
            ),
            (
                format!("sources.{name}.max_connections"),
                text(&source.max_connections),
            ),
            (
                format!("sources.{name}.statement_timeout"),
                duration(source.statement_timeout),
            ),
            (
                format!("sources.{name}.max_in_flight"),
                text(&source.max_in_flight),
            ),
        ]);
    }
    all.into_iter()
        .map(|(name, value)| Setting { name, value })
        .collect()
}

fn console(console: &ConsoleSettings) -> Vec<(String, Option<String>)> {
    let listen = console.listen.map(|listen| match listen {
        Listen::Off => "off".to_owned(),
        Listen::At(address) => address.to_string(),
    });
    let peers: Vec<String> = console.proxy_peers.iter().map(ToString::to_string).collect();
    let all = [
        ("listen", listen),
        ("auth", Some(console.auth.as_str().to_owned())),
        ("proxy_header", Some(console.proxy_header.clone())),
        (
            "proxy_peers",
            Some(peers.join(", ")).filter(|peers| !peers.is_empty()),
        ),
        (
            "path_prefix",
            Some(console.path_prefix.clone()).filter(|prefix| !prefix.is_empty()),
        ),
        ("read_only", Some(console.read_only.to_string())),
        ("sources", Some(console.sources.to_string())),
        ("insecure_cookie", Some(console.insecure_cookie.to_string())),
        (
            "tenant_database_url",
            console.tenant_database_url.as_ref().map(server_name),
        ),
    ];
    all.map(|(name, value)| (format!("console.{name}"), value)).into()
}

/// Finds problems that reading the settings does not find.
fn problems(app: &App) -> Vec<String> {
    let mut found = Vec::new();
    match app.settings.database_url() {
        Ok(url) => found.extend(
            Connector::new(url, "the analytics database", true, |options| options)
                .err()
                .map(|error| report(&error)),
        ),
        Err(error) => found.push(error.to_string()),
    }
    found.extend(app.rabbit().err().map(|error| report(error.as_ref())));
    match Sources::new(&app.settings, "config") {
        Ok(sources) if sources.iter().next().is_none() => {
            found.push("no source has a URL: set TIDEMARK_SOURCE_URL, or sources.NAME.url".to_owned());
        }
        Ok(_) => {}
        Err(error) => found.push(report(&error)),
    }
    for (name, _) in app
        .settings
        .sources
        .iter()
        .filter(|(_, source)| source.url.is_none())
    {
        found.push(format!("sources.{name}.url is not set"));
    }
    found
}
