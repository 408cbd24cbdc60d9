//! `tidemark doctor`.

pub(super) mod print;

use tidemark_operations::doctor;
use tidemark_postgres::report::report;
use tidemark_runtime::finding::Level;

use crate::app::App;
use crate::exit::Exit;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print only warnings and errors
    #[arg(long)]
    quiet: bool,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let broker = app.settings.amqp_url.is_some();
        let broker = broker.then(|| app.rabbit().map_err(|error| report(error.as_ref())));
        let found = doctor::check(&app.settings, broker).await;
        print::report(&found, app.json, self.quiet)?;
        Ok(match found.level {
            Level::Error => Exit::Failed,
            Level::Warning => Exit::Partial,
            Level::Ok | Level::NotChecked => Exit::Done,
        })
    }
}
