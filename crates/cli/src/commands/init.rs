//! `tidemark init`: asks for the servers, checks each, and writes the first settings file.

mod ask;
mod file;

use std::path::{Path, PathBuf};

use serde::Serialize;
use tidemark_broker::RabbitQueue;
use tidemark_net::url::ServerUrl;
use tidemark_operations::doctor::report::Group;
use tidemark_operations::doctor::{self, Server};
use tidemark_postgres::report::report;
use tidemark_runtime::config::{
    AMQP_URL, DATABASE_URL, NewFile, SOURCE_URL, Settings, UrlPlace, variable_that_sets,
};
use tidemark_runtime::finding::Level;

use self::ask::Terminal;
use super::doctor::print;
use crate::app::{Globals, rabbit_settings};
use crate::exit::{Exit, UsageError};
use crate::output;

const DEFAULT_FILE: &str = "tidemark.toml";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
    /// Use no RabbitMQ: then only `sync --local` and `demo --local` move rows
    #[arg(long)]
    without_rabbitmq: bool,
    /// Write the URLs into files of this folder, which variables TIDEMARK_…_FILE name, and not into the settings file
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
}

/// A server whose URL the settings need.
struct Needed {
    server: Server,
    what: &'static str,
    /// The path in the settings.
    path: &'static [&'static str],
    flag: &'static str,
    variable: &'static str,
    /// The name of its file in the folder of `--secrets`.
    file: &'static str,
    example: &'static str,
}

const NEEDED: [Needed; 3] = [
    Needed {
        server: Server::Ledger,
        what: "analytics database, which gets the rows and the ledger",
        path: DATABASE_URL,
        flag: "--database-url",
        variable: "TIDEMARK_DATABASE_URL",
        file: "database_url",
        example: "postgres://tidemark@localhost:5432/tidemark",
    },
    Needed {
        server: Server::Source,
        what: "Chatwoot database, with a login that may read it",
        path: SOURCE_URL,
        flag: "--source-url",
        variable: "TIDEMARK_SOURCE_URL",
        file: "source_url",
        example: "postgres://localhost:5432/chatwoot_production",
    },
    Needed {
        server: Server::Broker,
        what: "RabbitMQ",
        path: AMQP_URL,
        flag: "--amqp-url",
        variable: "TIDEMARK_AMQP_URL",
        file: "amqp_url",
        example: "amqp://guest:guest@localhost:5672/%2f",
    },
];

/// The field names are a contract with scripts.
#[derive(Debug, Serialize)]
struct Written {
    file: PathBuf,
    /// Variables that the commands and processes need, by their names.
    environment: Vec<Variable>,
    level: Level,
    groups: Vec<Group>,
    next: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Variable {
    name: String,
    value: PathBuf,
}

impl Args {
    pub async fn run(self, globals: Globals) -> anyhow::Result<Exit> {
        tokio::select! {
            outcome = self.write(globals) => outcome,
            _ = tokio::signal::ctrl_c() => {
                output::note("\ninterrupted: nothing was written");
                Ok(Exit::Interrupted)
            }
        }
    }

    async fn write(self, globals: Globals) -> anyhow::Result<Exit> {
        let file = globals.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
        self.check_absent(&file)?;
        if self.without_rabbitmq && globals.amqp_url.is_some() {
            let text = "--without-rabbitmq and --amqp-url contradict each other: leave one of them out";
            return Err(UsageError(text.to_owned()).into());
        }
        let mut settings = Settings::of_environment()?;
        let mut given = [
            globals.database_url.clone(),
            globals.source_url.clone(),
            globals.amqp_url.clone(),
        ];
        let terminal = Terminal::find();
        if terminal.is_none() {
            self.need_all(&given)?;
        }
        let (mut places, mut groups) = (Vec::new(), Vec::new());
        for (needed, given) in NEEDED.iter().zip(&mut given) {
            let asks = terminal.as_ref().filter(|_| given.is_none());
            if needed.server == Server::Broker && self.without_rabbitmq {
                settings.amqp_url = None;
                places.push(UrlPlace::Nowhere);
                continue;
            }
            if let (None, Some(variable)) = (&given, variable_that_sets(needed.path)) {
                output::note(format!("{}: from {variable}", needed.what));
                groups.extend(check(&settings, needed, globals.json).await?);
                places.push(UrlPlace::Variable(variable.to_owned()));
                continue;
            }
            let (place, found) =
                ask_and_check(needed, given.take(), asks, &mut settings, globals.json).await?;
            places.push(place);
            groups.extend(found);
        }
        let without_broker = matches!(places.last(), Some(UrlPlace::Nowhere));
        let environment = self.write_secrets(&mut places)?;
        let [database_url, source_url, amqp_url] = places.try_into().expect("each server has a place");
        let new = NewFile {
            database_url,
            source_url,
            amqp_url,
        };
        file::write_private(&file, &new.text(), self.force)?;
        let next = next_commands(&file, globals.config.is_some(), without_broker);
        let levels = groups.iter().flat_map(|group: &Group| &group.findings);
        let written = Written {
            level: levels
                .map(|finding| finding.level)
                .max()
                .unwrap_or(Level::NotChecked),
            file,
            environment,
            groups,
            next,
        };
        written.print(globals.json)
    }

    fn check_absent(&self, file: &Path) -> anyhow::Result<()> {
        let secrets = self
            .secrets
            .iter()
            .flat_map(|dir| NEEDED.iter().map(move |needed| dir.join(needed.file)));
        let mut existing = std::iter::once(file.to_owned())
            .chain(secrets)
            .filter(|path| path.symlink_metadata().is_ok());
        match existing.next() {
            Some(path) if !self.force => Err(UsageError(format!(
                "{} exists already, and nothing was changed: `--force` replaces it, `--config FILE` names another file",
                path.display()
            ))
            .into()),
            _ => Ok(()),
        }
    }

    /// Names every flag that is missing where nobody can be asked.
    fn need_all(&self, given: &[Option<ServerUrl>; 3]) -> anyhow::Result<()> {
        let missing: Vec<String> = NEEDED
            .iter()
            .zip(given)
            .filter(|(needed, given)| {
                let is_without = needed.server == Server::Broker && self.without_rabbitmq;
                given.is_none() && !is_without && variable_that_sets(needed.path).is_none()
            })
            .map(|(needed, _)| {
                let or = match needed.server {
                    Server::Broker => ", or --without-rabbitmq",
                    Server::Ledger | Server::Source => "",
                };
                let Needed {
                    flag, variable, what, ..
                } = needed;
                format!("{flag} URL ({variable} or {variable}_FILE){or}: the {what}")
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let text = format!(
            "there is no terminal to ask on, so these are needed:\n  {}",
            missing.join("\n  ")
        );
        Err(UsageError(text).into())
    }

    /// Writes URLs that would stand in the settings file into files of their own; returns the variables that name these.
    fn write_secrets(&self, places: &mut [UrlPlace]) -> anyhow::Result<Vec<Variable>> {
        let Some(dir) = &self.secrets else {
            return Ok(Vec::new());
        };
        let dir = file::private_dir(dir)?;
        let mut environment = Vec::new();
        for (needed, place) in NEEDED.iter().zip(places) {
            let UrlPlace::Here(url) = place else { continue };
            let (path, name) = (dir.join(needed.file), format!("{}_FILE", needed.variable));
            file::write_secret(&path, url, self.force)?;
            *place = UrlPlace::Variable(name.clone());
            environment.push(Variable { name, value: path });
        }
        Ok(environment)
    }
}

/// The URL of one server and what its check found. On a terminal, a server that does not work is asked for again.
async fn ask_and_check(
    needed: &Needed,
    mut given: Option<ServerUrl>,
    terminal: Option<&Terminal>,
    settings: &mut Settings,
    json: bool,
) -> anyhow::Result<(UrlPlace, Vec<Group>)> {
    loop {
        let url = match (given.take(), terminal) {
            (Some(url), _) => url,
            (None, Some(terminal)) => match terminal.url(needed).await? {
                Some(url) => url,
                None => return Ok((UrlPlace::Nowhere, Vec::new())),
            },
            (None, None) => unreachable!("without a terminal every URL is given"),
        };
        match needed.server {
            Server::Ledger => settings.database_url = Some(url.clone()),
            Server::Broker => settings.amqp_url = Some(url.clone()),
            Server::Source => {
                let main = settings.sources.entry("main".to_owned());
                main.or_default().url = Some(url.clone());
            }
        }
        let found = check(settings, needed, json).await?;
        let is_usable = level(&found) < Level::Error;
        match terminal {
            Some(terminal) if !is_usable && !terminal.confirm("Use it all the same?").await? => {}
            _ => return Ok((UrlPlace::Here(url), found)),
        }
    }
}

fn level(groups: &[Group]) -> Level {
    let findings = groups.iter().flat_map(|group| &group.findings);
    findings
        .map(|finding| finding.level)
        .max()
        .unwrap_or(Level::NotChecked)
}

async fn check(settings: &Settings, needed: &Needed, json: bool) -> anyhow::Result<Vec<Group>> {
    let broker = settings.amqp_url.is_some().then(|| {
        rabbit_settings(settings, "tidemark init")
            .map_err(|error| format!("{error:#}"))
            .and_then(|rabbit| RabbitQueue::new(&rabbit).map_err(|error| report(&error)))
    });
    let mut groups = doctor::check_server(settings, needed.server, broker).await;
    for group in &mut groups {
        // the first of the next commands
        group
            .findings
            .retain(|finding| finding.todo != ["tidemark migrate"]);
    }
    if !json {
        print::groups(&groups, false)?;
    }
    Ok(groups)
}

/// What to do with the new file: three commands.
fn next_commands(file: &Path, is_named: bool, without_broker: bool) -> Vec<String> {
    let program = if is_named {
        format!("tidemark --config {}", file.display())
    } else {
        "tidemark".to_owned()
    };
    let start = if without_broker {
        "sync --all --local"
    } else {
        "up"
    };
    vec![
        format!("{program} migrate"),
        format!("{program} tenant add --id 1 --name 'First tenant' --account-id 1"),
        format!("{program} {start}"),
    ]
}

impl Written {
    fn print(&self, json: bool) -> anyhow::Result<Exit> {
        let exit = match self.level {
            Level::Error => Exit::Failed,
            Level::Ok | Level::NotChecked | Level::Warning => Exit::Done,
        };
        if json {
            output::json(self)?;
            return Ok(exit);
        }
        output::line(format!("{} is written.", self.file.display()))?;
        if exit == Exit::Failed {
            output::line("Fix the errors above first; `tidemark doctor` checks again.")?;
        }
        if !self.environment.is_empty() {
            output::line("\nThe commands and processes need these variables:\n")?;
            for Variable { name, value } in &self.environment {
                output::line(format!("  export {name}={}", value.display()))?;
            }
        }
        output::line("\nNext (`tidemark account list` shows the accounts of Chatwoot):\n")?;
        for command in &self.next {
            output::line(format!("  {command}"))?;
        }
        Ok(exit)
    }
}
