//! `tidemark console`: the web console, its users and its tokens.

mod token;
mod user;

use crate::app::App;
use crate::exit::Exit;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_value_name = "COMMAND")]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add, list and remove users, and set passwords
    #[command(subcommand)]
    User(user::Command),
    /// Add, list and remove tokens of the API
    #[command(subcommand)]
    Token(token::Command),
}

impl Args {
    /// Whether it serves pages until it is stopped.
    pub const fn is_process(&self) -> bool {
        self.command.is_none()
    }

    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self.command {
            None => super::daemon::console(app).await,
            Some(Command::User(command)) => command.run(app).await,
            Some(Command::Token(command)) => command.run(app).await,
        }
    }
}

/// The scope of a user or token in a table.
fn scope(tenants: Option<&Vec<i32>>) -> String {
    match tenants {
        None => "all".to_owned(),
        Some(tenants) => tenants
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    }
}
