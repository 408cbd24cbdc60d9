//! `tidemark resync`: takes a past part again, beside what else is under way; the watermark stays.

mod ids;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use tidemark_ledger as ledger;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::selection::{MAX_IDS_PER_RUN, Selection};
use tidemark_shared::tenant::{CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, Tenant};

use super::ask::{self, Tenants};
use super::plan;
use super::run::print_runs;
use crate::app::App;
use crate::exit::{Exit, UsageError};
use crate::output;
use crate::progress::Watch;

/// Ids that are shared out among several tenants at once.
const IDS_SHARED_OUT: usize = 100_000;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("part").required(true).multiple(true)
    .args(["ids", "ids_file", "from", "inbox", "all_rows"]))]
pub struct Args {
    #[command(flatten)]
    tenants: Tenants,
    /// Conversations' ids, separated by commas; what the source no longer has is marked deleted. Of several tenants each
    /// takes its own
    #[arg(long, value_delimiter = ',', value_name = "1,2", conflicts_with_all = ["from", "inbox", "all_rows"],
          value_parser = clap::value_parser!(i64).range(1..))]
    ids: Vec<i64>,
    /// The same from a file, `-` for stdin: ids with commas, white space or line ends between, up to a million
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "inbox", "all_rows"])]
    ids_file: Option<PathBuf>,
    /// Conversations created or changed from this instant on (RFC 3339)
    #[arg(long, requires = "to", value_name = "T", conflicts_with = "all_rows", value_parser = instant)]
    from: Option<DateTime<Utc>>,
    /// … and up to this one
    #[arg(long, requires = "from", value_name = "T", value_parser = instant)]
    to: Option<DateTime<Utc>>,
    /// Conversations of these inboxes; with --from and --to, of both
    #[arg(long, value_delimiter = ',', value_name = "N", conflicts_with = "all_rows")]
    inbox: Vec<i32>,
    /// Everything
    #[arg(long)]
    all_rows: bool,
    /// Conversations a chunk, instead of the tenant's setting
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(i64::from(CHUNK_SIZE_MIN)..=i64::from(CHUNK_SIZE_MAX)))]
    chunk_size: Option<i32>,
    /// Only show what it would take, and at which cost
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Wait until the runs have ended; the exit code tells how
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
        let listed = self.listed()?;
        let db = app.database(0).await?;
        let tenants = self.tenants.ready(app, &db).await?;
        let parts = self.parts(app, &db, tenants, listed).await?;
        let several = self.tenants.are_several() || parts.len() > 1;
        if self.dry_run {
            return plan::dry_run(app, &db, RunType::Resync, parts, several).await;
        }
        let mut runs = Vec::with_capacity(parts.len());
        for (tenant, request) in parts {
            let reason = self.reason.clone();
            runs.push(ask::request(app, &db, &tenant, RunType::Resync, reason, request).await?);
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

    /// The ids that were listed, ascending and distinct; `None` where something else is asked for.
    fn listed(&self) -> anyhow::Result<Option<Vec<i64>>> {
        if self.ids.is_empty() && self.ids_file.is_none() {
            return Ok(None);
        }
        let mut ids = self.ids.clone();
        if let Some(file) = &self.ids_file {
            ids.extend(ids::read(file)?);
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(Some(ids))
    }

    /// The runs to ask for.
    async fn parts(
        &self,
        app: &App,
        db: &DbPool,
        tenants: Vec<Tenant>,
        listed: Option<Vec<i64>>,
    ) -> anyhow::Result<Vec<(Tenant, RunRequest)>> {
        let mut parts = Vec::new();
        match listed {
            Some(ids) => {
                for (tenant, ids) in assign_ids_to_tenants(app, db, tenants, ids).await? {
                    for ids in ids.chunks(MAX_IDS_PER_RUN) {
                        let selection = Selection::Ids { ids: ids.to_vec() };
                        parts.push((tenant.clone(), self.request(Some(selection))));
                    }
                }
            }
            None => {
                for (tenant, selection) in self.selections(db, tenants).await? {
                    parts.push((tenant, self.request(selection)));
                }
            }
        }
        Ok(parts)
    }

    fn request(&self, selection: Option<Selection>) -> RunRequest {
        RunRequest {
            chunk_size: self.chunk_size,
            allow_mass_delete: self.allow_mass_delete,
            selection,
            ..RunRequest::default()
        }
    }

    /// The part of each tenant that was asked for without ids; `None` for everything. A tenant that has none of the
    /// inboxes has no part.
    async fn selections(
        &self,
        db: &DbPool,
        tenants: Vec<Tenant>,
    ) -> anyhow::Result<Vec<(Tenant, Option<Selection>)>> {
        let time = self.from.zip(self.to);
        if let Some((from, to)) = time
            && from >= to
        {
            return Err(UsageError(format!("--from {from} is not before --to {to}")).into());
        }
        let mut strangers = self.inbox.clone();
        strangers.sort_unstable();
        strangers.dedup();
        let asked = strangers.clone();
        let mut parts = Vec::with_capacity(tenants.len());
        let ids: Vec<TenantId> = tenants.iter().map(|tenant| tenant.id).collect();
        for tenant in tenants {
            let own = ledger::inbox::list_active(db, tenant.id, &tenant.source).await?;
            let inboxes: Vec<i32> = asked
                .iter()
                .filter(|inbox| own.contains(inbox))
                .copied()
                .collect();
            strangers.retain(|inbox| !inboxes.contains(inbox));
            if !asked.is_empty() && inboxes.is_empty() {
                continue;
            }
            let selection = match time {
                Some((from, to)) => Some(Selection::Time { from, to, inboxes }),
                None if inboxes.is_empty() => None,
                None => Some(Selection::Inboxes { inboxes }),
            };
            parts.push((tenant, selection));
        }
        if let Some(inbox) = strangers.first() {
            let text = match ids.as_slice() {
                [tenant] => format!(
                    "inbox {inbox} is not tenant {tenant}'s: `tidemark inbox list --tenant {tenant}` shows those that are"
                ),
                _ => format!(
                    "inbox {inbox} is none of these tenants': `tidemark inbox list` shows whose it is"
                ),
            };
            return Err(UsageError(text).into());
        }
        Ok(parts)
    }
}

/// One tenant takes all ids, so that what its source no longer has is marked deleted; of several each takes its own.
async fn assign_ids_to_tenants(
    app: &App,
    db: &DbPool,
    tenants: Vec<Tenant>,
    ids: Vec<i64>,
) -> anyhow::Result<Vec<(Tenant, Vec<i64>)>> {
    let tenants = match <[Tenant; 1]>::try_from(tenants) {
        Ok([tenant]) => return Ok(vec![(tenant, ids)]),
        Err(tenants) => tenants,
    };
    if ids.len() > IDS_SHARED_OUT {
        let text = format!(
            "{} ids for several tenants: at most {} at once, or name the tenant",
            ids.len(),
            IDS_SHARED_OUT
        );
        return Err(UsageError(text).into());
    }
    let mut shared = plan::planner(app, db)?
        .assign_ids_to_tenants(&tenants, &ids)
        .await?;
    if shared.by_tenant.is_empty() {
        let text = format!("none of the {} ids is a conversation of these tenants", ids.len());
        return Err(UsageError(text).into());
    }
    if let Some(first) = shared.unknown.first() {
        output::note(format!(
            "{} of {} ids are no conversations of these tenants and are left out: {first}{}",
            shared.unknown.len(),
            ids.len(),
            if shared.unknown.len() > 1 { ", …" } else { "" }
        ));
    }
    Ok(tenants
        .into_iter()
        .filter_map(|tenant| shared.by_tenant.remove(&tenant.id).map(|ids| (tenant, ids)))
        .collect())
}
