//! `tidemark status`.

use std::io::IsTerminal;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tidemark_ledger::verification::LastVerification;
use tidemark_operations::status::{Overview, SourceOverview, TenantOverview};
use tidemark_postgres::report::report;
use tidemark_shared::fence::Holder;

use crate::app::App;
use crate::exit::Exit;
use crate::output;

const WATCH_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Repeat every two seconds; with --json print one object a line
    #[arg(long)]
    watch: bool,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        loop {
            match Overview::load(&db, &app.settings).await {
                Ok(status) => self.show(app, &status)?,
                Err(error) if self.watch && error.is_temporary() => {
                    output::note(format!("the ledger is away, waiting for it: {}", report(&error)));
                }
                Err(error) => return Err(error.into()),
            }
            if !self.watch {
                return Ok(Exit::Done);
            }
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
                () = tokio::time::sleep(WATCH_EVERY) => {}
            }
        }
    }

    fn show(&self, app: &App, status: &Overview) -> anyhow::Result<()> {
        match (app.json, self.watch) {
            (true, true) => output::json_line(status),
            (true, false) => output::json(status),
            (false, false) => print(status),
            (false, true) => {
                if std::io::stdout().is_terminal() {
                    // clear the screen
                    output::line("\x1b[2J\x1b[H")?;
                }
                print(status)
            }
        }
    }
}

fn print(status: &Overview) -> anyhow::Result<()> {
    let rows = status
        .tenants
        .iter()
        .map(|tenant| tenant_row(tenant, status.at))
        .collect();
    let header = [
        "tenant",
        "name",
        "behind",
        "last run",
        "waiting",
        "running",
        "next sync",
        "verified",
        "held by",
    ];
    output::table(&header, &[0, 2, 4, 5], rows)?;
    output::line("")?;
    print_sources(&status.sources)?;
    let rows = status
        .processes
        .iter()
        .map(|process| {
            vec![
                process.role.clone(),
                process.instance.clone(),
                process.version.clone(),
                output::time(Some(process.started_at)),
                output::time(Some(process.last_seen_at)),
                process.http_address.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    output::line("")?;
    let header = ["process", "instance", "version", "started", "seen", "http"];
    output::table(&header, &[], rows)?;
    for line in status.inbox_lines(None) {
        output::line(line)?;
    }
    Ok(())
}

fn tenant_row(tenant: &TenantOverview, now: DateTime<Utc>) -> Vec<String> {
    let none = || "-".to_owned();
    let last = tenant.last_run.as_ref().map_or_else(none, |run| {
        let ended = run
            .finished_at
            .map(|at| format!(", {} ago", output::age(now - at)));
        let (kind, status) = (run.run_type.as_str(), run.status.as_str());
        format!("{} {kind} {status}{}", run.run_id, ended.unwrap_or_default())
    });
    let behind = tenant.behind_ms.map(TimeDelta::milliseconds);
    let behind = behind.map_or_else(|| "never synced".to_owned(), output::age);
    let late = if tenant.late { ", late" } else { "" };
    let next = match tenant.next_due_at - now {
        wait if wait > TimeDelta::zero() => format!("in {}", output::age(wait)),
        _ => "now".to_owned(),
    };
    vec![
        tenant.tenant_id.to_string(),
        tenant.name.clone(),
        format!("{behind}{late}"),
        last,
        output::count(tenant.chunks_pending + tenant.chunks_queued),
        output::count(tenant.chunks_running),
        next,
        tenant
            .last_verification
            .as_ref()
            .map_or_else(none, |last| verified(last, now)),
        tenant.held_by.clone().unwrap_or_else(none),
    ]
}

/// For example `equal, 3h ago`.
fn verified(last: &LastVerification, now: DateTime<Utc>) -> String {
    let verdict = match last.compared.fault_count() {
        0 => last.verdict.as_str().to_owned(),
        faults => format!("{} at fault", output::count(faults)),
    };
    format!("{verdict}, {} ago", output::age(now - last.verified_at))
}

fn print_sources(sources: &[SourceOverview]) -> anyhow::Result<()> {
    let rows = sources
        .iter()
        .map(|source| {
            let watch = &source.watch;
            vec![
                watch.source.clone(),
                output::time(watch.looked_at),
                output::time(watch.fence_at),
                source
                    .fence_lag_ms
                    .map_or_else(|| "-".to_owned(), output::duration_ms),
                watch
                    .holder
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |holder| holder_text(&holder.0)),
                watch.error.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    let header = ["source", "seen", "fence", "lag", "oldest writer", "error"];
    output::table(&header, &[3], rows)
}

/// For example `pid 4711 (rails, puma), idle in transaction since …`; parts that the login may not see are left out.
fn holder_text(holder: &Holder) -> String {
    let who = match (holder.pid, &holder.prepared) {
        (Some(pid), _) => format!("pid {pid}"),
        (None, Some(name)) => format!("prepared transaction {name}"),
        (None, None) => "unknown".to_owned(),
    };
    let names = [&holder.user, &holder.application];
    let names: Vec<&str> = names
        .into_iter()
        .flatten()
        .map(String::as_str)
        .filter(|name| !name.is_empty())
        .collect();
    let state = match (&holder.state, holder.prepared.is_some()) {
        (Some(state), false) => format!(", {state}"),
        _ => String::new(),
    };
    let since = match holder.since {
        Some(since) => format!(" since {}", output::time(Some(since))),
        None => String::new(),
    };
    format!("{who} ({}){state}{since}", names.join(", "))
}
