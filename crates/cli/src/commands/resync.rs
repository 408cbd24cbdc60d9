//! `tidemark resync`: takes a past part again, beside what else is under way; the watermark stays.

use chrono::{DateTime, Utc};
use tidemark_shared::db;
use tidemark_shared::db::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::selection::Selection;
use tidemark_shared::tenant::{CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, Tenant};

use super::ask;
use super::run::print_runs;
use crate::app::App;
use crate::exit::{Exit, UsageError};
use crate::progress::Watch;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("part").required(true).args(["ids", "from", "inbox", "all_rows"]))]
pub struct Args {
    /// Tenant's id
    #[arg(long, alias = "tenant-id", value_name = "N")]
    tenant: TenantId,
    /// Conversations' ids, separated by commas; what the source no longer has is marked deleted
    #[arg(long, value_delimiter = ',', value_name = "1,2", value_parser = clap::value_parser!(i64).range(1..))]
    ids: Vec<i64>,
    /// Conversations created or changed from this instant on (RFC 3339)
    #[arg(long, requires = "to", value_name = "T", value_parser = instant)]
    from: Option<DateTime<Utc>>,
    /// … and up to this one
    #[arg(long, requires = "from", value_name = "T", value_parser = instant)]
    to: Option<DateTime<Utc>>,
    /// Conversations of this inbox
    #[arg(long, value_name = "N")]
    inbox: Option<i32>,
    /// Everything
    #[arg(long)]
    all_rows: bool,
    /// Conversations a chunk, instead of the tenant's setting
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(i64::from(CHUNK_SIZE_MIN)..=i64::from(CHUNK_SIZE_MAX)))]
    chunk_size: Option<i32>,
    /// Wait until the run has ended; the exit code tells how
    #[arg(long)]
    wait: bool,
    /// Why, for whoever reads the run later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Mark rows deleted even when suspiciously many are gone from the source at once
    #[arg(long)]
    allow_mass_delete: bool,
}

pub(super) fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|instant| instant.to_utc())
        .map_err(|error| format!("{error}: write it as 2026-01-31T08:00:00Z"))
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        let tenant = ask::ready_tenant(app, &db, self.tenant).await?;
        let request = RunRequest {
            chunk_size: self.chunk_size,
            allow_mass_delete: self.allow_mass_delete,
            selection: self.selection(&db, &tenant).await?,
        };
        let run = ask::request(app, &db, &tenant, RunType::Resync, self.reason, request).await?;
        let reports = if self.wait {
            Watch::new(app, &db).wait(&[run]).await?
        } else {
            db::run::reports(&db, &[run]).await?
        };
        print_runs(app, &reports, false)?;
        Ok(if self.wait {
            Exit::of_runs(&reports)
        } else {
            Exit::Done
        })
    }

    /// The part that was asked for; `None` for everything.
    async fn selection(&self, db: &DbPool, tenant: &Tenant) -> anyhow::Result<Option<Selection>> {
        if let (Some(from), Some(to)) = (self.from, self.to) {
            if from >= to {
                return Err(UsageError(format!("--from {from} is not before --to {to}")).into());
            }
            return Ok(Some(Selection::Time { from, to }));
        }
        if let Some(inbox) = self.inbox {
            let inboxes = db::inbox::list_active(db, tenant.id, &tenant.source).await?;
            if !inboxes.contains(&inbox) {
                let text = format!(
                    "inbox {inbox} is not tenant {0}'s: `tidemark inbox list --tenant {0}` shows those that are",
                    tenant.id
                );
                return Err(UsageError(text).into());
            }
            return Ok(Some(Selection::Inboxes { inboxes: vec![inbox] }));
        }
        if self.all_rows {
            return Ok(None);
        }
        let mut ids = self.ids.clone();
        ids.sort_unstable();
        ids.dedup();
        Ok(Some(Selection::Ids { ids }))
    }
}
