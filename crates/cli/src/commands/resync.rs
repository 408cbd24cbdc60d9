//! `tidemark resync`: applies a past part again; the watermark stays.

mod ids_file;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use tidemark_ledger as ledger;
use tidemark_operations::plan_preview::planner;
use tidemark_operations::resync::{parts_by_ids, parts_by_selection};
use tidemark_postgres::DbPool;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::tenant::{CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, Tenant};

use super::plan::dry_run;
use super::requests::{Tenants, request};
use super::run::print::runs as print_runs;
use crate::app::App;
use crate::exit::Exit;
use crate::output;
use crate::progress::Watch;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("part").required(true).multiple(true)
    .args(["ids", "ids_file", "from", "inbox", "all_rows"]))]
pub struct Args {
    #[command(flatten)]
    tenants: Tenants,
    /// Conversation ids, separated by commas; rows whose conversation is gone are marked deleted. With several tenants, each
    /// takes its own conversations
    #[arg(long, value_delimiter = ',', value_name = "1,2", conflicts_with_all = ["from", "inbox", "all_rows"],
          value_parser = clap::value_parser!(i64).range(1..))]
    ids: Vec<i64>,
    /// Read the ids from a file, or from stdin with `-`; separated by commas, spaces or newlines, at most a million
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "inbox", "all_rows"])]
    ids_file: Option<PathBuf>,
    /// Conversations created or changed from this instant on (RFC 3339)
    #[arg(long, requires = "to", value_name = "T", conflicts_with = "all_rows", value_parser = instant)]
    from: Option<DateTime<Utc>>,
    /// End of the range that --from starts
    #[arg(long, requires = "from", value_name = "T", value_parser = instant)]
    to: Option<DateTime<Utc>>,
    /// Conversations of these inboxes; can be combined with --from and --to
    #[arg(long, value_delimiter = ',', value_name = "N", conflicts_with = "all_rows")]
    inbox: Vec<i32>,
    /// All conversations
    #[arg(long)]
    all_rows: bool,
    /// Conversations per chunk, instead of the tenant's setting
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(i64::from(CHUNK_SIZE_MIN)..=i64::from(CHUNK_SIZE_MAX)))]
    chunk_size: Option<i32>,
    /// Show what the runs would do and what they would read; request none
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Wait until the runs have ended; the exit code shows the outcome
    #[arg(long)]
    wait: bool,
    /// Reason, stored with the runs
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Mark rows deleted even when unusually many are gone from the source at once
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
        let ids = self.ids()?;
        let db = app.database(0).await?;
        let tenants = self.tenants.load_ready(&db).await?;
        let parts = self.parts(app, &db, tenants, ids).await?;
        let several = self.tenants.are_several() || parts.len() > 1;
        if self.dry_run {
            return dry_run(app, &db, RunType::Resync, &parts, several).await;
        }
        let mut runs = Vec::with_capacity(parts.len());
        for (tenant, part) in parts {
            let reason = self.reason.clone();
            runs.push(request(app, &db, &tenant, RunType::Resync, reason, part).await?);
        }
        let reports = if self.wait {
            Watch::new(app, &db).wait(&runs).await?
        } else {
            ledger::run::reports(&db, &runs).await?
        };
        print_runs(app, &reports, several)?;
        Ok(if self.wait {
            Exit::of_runs(&reports)
        } else {
            Exit::Done
        })
    }

    /// The ids of the arguments, ascending and distinct; `None` where the part is named otherwise.
    fn ids(&self) -> anyhow::Result<Option<Vec<i64>>> {
        if self.ids.is_empty() && self.ids_file.is_none() {
            return Ok(None);
        }
        let mut ids = self.ids.clone();
        if let Some(file) = &self.ids_file {
            ids.extend(ids_file::read(file)?);
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(Some(ids))
    }

    async fn parts(
        &self,
        app: &App,
        db: &DbPool,
        tenants: Vec<Tenant>,
        ids: Option<Vec<i64>>,
    ) -> anyhow::Result<Vec<(Tenant, RunRequest)>> {
        let template = RunRequest {
            chunk_size: self.chunk_size,
            allow_mass_delete: self.allow_mass_delete,
            ..RunRequest::default()
        };
        let Some(ids) = ids else {
            let time = self.from.zip(self.to);
            return Ok(parts_by_selection(db, tenants, time, &self.inbox, &template).await?);
        };
        let planner = planner(db, app.sources()?, &app.settings);
        let assigned = parts_by_ids(&planner, tenants, ids, &template).await?;
        if let Some(first) = assigned.unknown.first() {
            output::note(format!(
                "{} of {} ids are no conversations of these tenants and are left out: {first}{}",
                assigned.unknown.len(),
                assigned.listed,
                if assigned.unknown.len() > 1 { ", …" } else { "" }
            ));
        }
        Ok(assigned.parts)
    }
}
