//! The command line, one file for each command.

mod account;
mod audit;
mod bounds;
mod bulk;
mod chunk;
mod config;
mod console;
mod daemon;
mod dead;
mod demo;
mod doctor;
mod health;
mod import_legacy;
mod inbox;
mod init;
mod migrate;
mod plan;
mod prune;
mod rejected;
mod requests;
mod resync;
mod run;
mod sample;
mod source;
mod status;
mod sync;
mod tenant;
mod verify;
mod watermark;
mod webhook;
mod why;

use anyhow::Context;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{CommandFactory, Parser, Subcommand};
use tidemark_runtime::telemetry::Verbosity;

use crate::app::{App, Globals};
use crate::exit::Exit;
use crate::output;

/// Keeps an analytics PostgreSQL database in step with the conversations of Chatwoot databases.
#[derive(Debug, Parser)]
#[command(name = "tidemark", version, about, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the first settings file, and check the servers that it names
    Init(init::Args),
    /// Migrate the analytics database to this version
    Migrate(migrate::Args),
    /// Import tenants, inboxes, watermarks and rows from the Python script
    ImportLegacy(import_legacy::Args),
    /// Add, list, change, move, pause and remove tenants
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Map inboxes to tenants
    #[command(subcommand)]
    Inbox(inbox::Command),
    /// List Chatwoot accounts with their inboxes and tenants
    #[command(subcommand)]
    Account(account::Command),
    /// Request a run for changes, or for everything
    Sync(sync::Args),
    /// Apply a past part again; the watermark stays
    Resync(resync::Args),
    /// Show what a run would do, and request none
    Plan(plan::Args),
    /// List, show, watch, cancel and retry runs
    #[command(subcommand)]
    Run(run::Command),
    /// List chunks, and retry dead ones
    #[command(subcommand)]
    Chunk(chunk::Command),
    /// List rejected conversations, and retry them
    #[command(subcommand)]
    Rejected(rejected::Command),
    /// Show or set watermarks
    #[command(subcommand)]
    Watermark(watermark::Command),
    /// List, redrive or purge unreadable messages
    #[command(subcommand)]
    Dead(dead::Command),
    /// Report events to other systems
    #[command(subcommand)]
    Webhook(webhook::Command),
    /// Act on everything that matches
    #[command(subcommand)]
    Bulk(bulk::Command),
    /// List what operators did
    #[command(subcommand)]
    Audit(audit::Command),
    /// Remove old runs from the ledger; finalizers also do so regularly
    Prune(prune::Args),
    /// Compare source and target, row by row and column by column
    Verify(verify::Args),
    /// Explain the state of one conversation in the target
    Why(why::Args),
    /// Show the status of tenants, sources and processes
    Status(status::Args),
    /// Plan runs and dispatch chunks
    Producer,
    /// Extract, transform and load chunks
    Worker(daemon::WorkerArgs),
    /// Close runs, advance watermarks and rescue lost chunks
    Finalizer,
    /// Run producer, worker and finalizer in one process
    Up(daemon::UpArgs),
    /// Serve the web console, or manage its users and tokens
    Console(console::Args),
    /// Check the health of a running process
    Health(health::Args),
    /// Check all servers and the fleet, and say how to fix problems; changes nothing
    Doctor(doctor::Args),
    /// Check and print the settings
    #[command(subcommand)]
    Config(config::Command),
    /// Accept a restored source
    #[command(subcommand)]
    Source(source::Command),
    /// Create, change and drop a sample Chatwoot database
    #[command(subcommand)]
    Sample(sample::Command),
    /// Demonstrate Tidemark with a sample, on servers of your choice
    Demo(demo::Args),
    /// Print a shell completion script
    Completions {
        /// Shell to complete for
        shell: clap_complete::Shell,
    },
    /// Write the manual pages of all commands into a folder
    #[command(hide = true)]
    Man {
        /// Folder, which must exist
        #[arg(value_name = "DIR")]
        folder: std::path::PathBuf,
    },
}

/// Parses the name of one of `all`; help, completions and errors list the names.
fn one_of<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let find = move |text: String| {
        let found = all.iter().copied().find(|one| name(*one) == text);
        found.expect("only these names are possible")
    };
    PossibleValuesParser::new(all.iter().map(|one| name(*one))).map(find)
}

impl Cli {
    pub async fn run(self) -> anyhow::Result<Exit> {
        let (role, verbosity) = match &self.command {
            Command::Producer => ("producer", Verbosity::Daemon),
            Command::Worker(_) => ("worker", Verbosity::Daemon),
            Command::Finalizer => ("finalizer", Verbosity::Daemon),
            Command::Up(_) => ("up", Verbosity::Daemon),
            Command::Console(args) if args.is_process() => ("console", Verbosity::Daemon),
            _ => ("cli", Verbosity::Command),
        };
        if let Command::Init(args) = self.command {
            // it writes the settings that other commands read
            return args.run(self.globals).await;
        }
        let app = App::start(self.globals, role, verbosity)?;
        let outcome = match self.command {
            Command::Init(_) => unreachable!("it has ended"),
            Command::Migrate(args) => args.run(&app).await,
            Command::ImportLegacy(args) => args.run(&app).await,
            Command::Tenant(command) => command.run(&app).await,
            Command::Inbox(command) => command.run(&app).await,
            Command::Account(command) => command.run(&app).await,
            Command::Sync(args) => args.run(&app).await,
            Command::Resync(args) => args.run(&app).await,
            Command::Plan(args) => args.run(&app).await,
            Command::Run(command) => command.run(&app).await,
            Command::Chunk(command) => command.run(&app).await,
            Command::Rejected(command) => command.run(&app).await,
            Command::Watermark(command) => command.run(&app).await,
            Command::Dead(command) => command.run(&app).await,
            Command::Webhook(command) => command.run(&app).await,
            Command::Bulk(command) => command.run(&app).await,
            Command::Audit(command) => command.run(&app).await,
            Command::Prune(args) => args.run(&app).await,
            Command::Verify(args) => args.run(&app).await,
            Command::Why(args) => args.run(&app).await,
            Command::Status(args) => args.run(&app).await,
            Command::Producer => daemon::producer(&app).await,
            Command::Worker(args) => args.run(&app).await,
            Command::Finalizer => daemon::finalizer(&app).await,
            Command::Up(args) => args.run(&app).await,
            Command::Console(args) => args.run(&app).await,
            Command::Health(args) => args.run(&app).await,
            Command::Doctor(args) => args.run(&app).await,
            Command::Config(command) => command.run(&app).await,
            Command::Source(command) => command.run(&app).await,
            Command::Sample(command) => command.run(&app).await,
            Command::Demo(args) => args.run(&app).await,
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Self::command(), "tidemark", &mut script);
                output::bytes(&script).map(|()| Exit::Done)
            }
            Command::Man { folder } => clap_mangen::generate_to(Self::command(), &folder)
                .with_context(|| format!("write manual pages into {}", folder.display()))
                .map(|()| Exit::Done),
        };
        app.end().await;
        outcome
    }
}
