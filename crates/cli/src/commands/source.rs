//! `tidemark source …`.

use tidemark_operations::source_restore;

use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Accept a source that went back in time, because it was restored or replaced
    AcceptRestore {
        /// Configured source
        #[arg(long, default_value = "main", value_name = "NAME")]
        source: String,
        /// Reason, stored in the audit
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let Self::AcceptRestore { source, reason } = self;
        let db = app.database(0).await?;
        let sources = app.sources()?;
        let configured = sources.get(&source)?;
        let epoch = source_restore::accept(&db, &app.actor(), configured, &reason).await?;
        output::note(format!(
            "source `{source}` at {} is accepted as it is now (epoch {epoch}); next, for each of its tenants: \
             tidemark sync --tenant N --full --wait",
            configured.server()
        ));
        Ok(Exit::Done)
    }
}
