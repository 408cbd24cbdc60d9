//! `tidemark prune`.

use std::time::Duration;

use tidemark_operations::housekeeping;

use super::bounds;
use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Keep successful runs this long [default: `retention.success`, 14days]
    #[arg(long, value_name = "DUR", value_parser = bounds::kept)]
    keep_success: Option<Duration>,
    /// Keep other runs, resolved rejects and ended messages of webhooks this long [default: `retention.failed`, 90days]
    #[arg(long, value_name = "DUR", value_parser = bounds::kept)]
    keep_failed: Option<Duration>,
    /// Keep the audits of watermark moves and of actions this long [default: `retention.audit`, 365days]
    #[arg(long, value_name = "DUR", value_parser = bounds::kept)]
    keep_audit: Option<Duration>,
    /// Keep the feed of changed conversations this long [default: `retention.changes`, 30days]
    #[arg(long, value_name = "DUR", value_parser = bounds::kept)]
    keep_changes: Option<Duration>,
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let mut keep = app.settings.retention.clone();
        let given = [
            (&mut keep.success, self.keep_success),
            (&mut keep.failed, self.keep_failed),
            (&mut keep.audit, self.keep_audit),
            (&mut keep.changes, self.keep_changes),
        ];
        for (kept, given) in given {
            *kept = given.unwrap_or(*kept);
        }
        let db = app.database(0).await?;
        let pruned = if self.dry_run {
            housekeeping::count(&db, &keep).await?
        } else {
            housekeeping::prune(&db, &app.actor(), &keep).await?
        };
        if app.json {
            output::json(&pruned)?;
        } else {
            output::line(format!(
                "{}{} runs with {} chunks, {} moves of watermarks, {} actions, {} messages of webhooks, {} resolved rejects, \
                 {} changes of conversations",
                if self.dry_run {
                    "would be removed: "
                } else {
                    "removed: "
                },
                output::count(pruned.runs),
                output::count(pruned.chunks),
                output::count(pruned.moves),
                output::count(pruned.actions),
                output::count(pruned.messages),
                output::count(pruned.rejects),
                output::count(pruned.changes)
            ))?;
        }
        Ok(Exit::Done)
    }
}
