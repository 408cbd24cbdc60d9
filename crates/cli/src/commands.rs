//! The command line: one file a command.

mod bounds;
mod chunk;
mod config;
mod daemon;
mod dead;
mod demo;
mod doctor;
mod health;
mod import_legacy;
mod inbox;
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
mod why;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{CommandFactory, Parser, Subcommand};
use tidemark_runtime::telemetry::Verbosity;

use crate::app::{App, Globals};
use crate::exit::Exit;
use crate::output;

/// Keeps an analytics PostgreSQL in step with the conversations of Chatwoot databases.
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
    /// Bring the analytics database's tables up to this version
    Migrate(migrate::Args),
    /// Take over from the Python script: its tenants, inboxes, watermarks and rows
    ImportLegacy(import_legacy::Args),
    /// Add, list, show, change, pause and remove tenants
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Say which inboxes are whose
    #[command(subcommand)]
    Inbox(inbox::Command),
    /// Ask for a run: what changed, or everything
    Sync(sync::Args),
    /// Take a past part again; the watermark stays
    Resync(resync::Args),
    /// Show what a run would do, and do nothing
    Plan(plan::Args),
    /// List, show, watch, cancel and retry runs
    #[command(subcommand)]
    Run(run::Command),
    /// List chunks, and try dead ones again
    #[command(subcommand)]
    Chunk(chunk::Command),
    /// List rows that could not be taken, and try them again
    #[command(subcommand)]
    Rejected(rejected::Command),
    /// Show how far tenants are, or put a watermark elsewhere
    #[command(subcommand)]
    Watermark(watermark::Command),
    /// Look after messages that could not be read
    #[command(subcommand)]
    Dead(dead::Command),
    /// Remove old runs and what belongs to them from the ledger; finalizers do it by themselves
    Prune(prune::Args),
    /// Compare source and target, row by row and column by column
    Verify(verify::Args),
    /// Say why a conversation looks in the target as it does
    Why(why::Args),
    /// Show tenants, runs and processes
    Status(status::Args),
    /// Plan runs and dispatch chunks
    Producer,
    /// Extract, transform and load chunks
    Worker(daemon::WorkerArgs),
    /// Close runs, advance watermarks, rescue lost chunks
    Finalizer,
    /// Producer, worker and finalizer in one process
    Up(daemon::UpArgs),
    /// Ask a process whether it is well
    Health(health::Args),
    /// Look at every server and the fleet, change nothing, and say what to do
    Doctor(doctor::Args),
    /// The settings
    #[command(subcommand)]
    Config(config::Command),
    /// Look after the sources
    #[command(subcommand)]
    Source(source::Command),
    /// A Chatwoot to try things on
    #[command(subcommand)]
    Sample(sample::Command),
    /// Show the whole thing at work on a sample, on servers of your choice
    Demo(demo::Args),
    /// Print a completion script
    Completions {
        /// Whose script
        shell: clap_complete::Shell,
    },
}

/// Reads one of `all` by its name; help, completions and errors name them.
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
            _ => ("cli", Verbosity::Command),
        };
        let app = App::start(self.globals, role, verbosity)?;
        let outcome = match self.command {
            Command::Migrate(args) => args.run(&app).await,
            Command::ImportLegacy(args) => args.run(&app).await,
            Command::Tenant(command) => command.run(&app).await,
            Command::Inbox(command) => command.run(&app).await,
            Command::Sync(args) => args.run(&app).await,
            Command::Resync(args) => args.run(&app).await,
            Command::Plan(args) => args.run(&app).await,
            Command::Run(command) => command.run(&app).await,
            Command::Chunk(command) => command.run(&app).await,
            Command::Rejected(command) => command.run(&app).await,
            Command::Watermark(command) => command.run(&app).await,
            Command::Dead(command) => command.run(&app).await,
            Command::Prune(args) => args.run(&app).await,
            Command::Verify(args) => args.run(&app).await,
            Command::Why(args) => args.run(&app).await,
            Command::Status(args) => args.run(&app).await,
            Command::Producer => daemon::producer(&app).await,
            Command::Worker(args) => args.run(&app).await,
            Command::Finalizer => daemon::finalizer(&app).await,
            Command::Up(args) => args.run(&app).await,
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
        };
        app.end().await;
        outcome
    }
}
