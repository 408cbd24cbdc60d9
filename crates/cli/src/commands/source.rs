//! `tidemark source …`.

use tidemark_ledger as ledger;

use crate::app::App;
use crate::exit::{Exit, UsageError};
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Take a source that went back in time (restored or swapped) for the truth from now on
    AcceptRestore {
        /// Configured source
        #[arg(long, default_value = "main", value_name = "NAME")]
        source: String,
        /// Why, for the audit
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let Self::AcceptRestore { source, reason } = self;
        if reason.trim().is_empty() {
            return Err(UsageError("accepting a restored source needs a reason".to_owned()).into());
        }
        let db = app.database(0).await?;
        let sources = app.sources()?;
        let configured = sources.get(&source)?;
        let known = ledger::fence::find(&db, &source)
            .await?
            .map(|known| known.highest_xmax);
        let seen = configured.observe().await?.xmax;
        if configured.check_not_restored(known, seen).is_ok() {
            let text = format!(
                "source `{source}` at {} did not go back in time: there is nothing to accept",
                configured.server()
            );
            return Err(UsageError(text).into());
        }
        let epoch = ledger::fence::accept_restore(&db, &source, seen, &app.actor(), &reason).await?;
        output::note(format!(
            "source `{source}` at {} is accepted as it is now (epoch {epoch}); next, for each of its tenants: \
             tidemark sync --tenant N --full --wait",
            configured.server()
        ));
        Ok(Exit::Done)
    }
}
