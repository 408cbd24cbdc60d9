//! `tidemark run cancel|retry`, and `chunk retry`.

use tidemark_ledger as ledger;
use tidemark_ledger::cancel::Cancelled;
use tidemark_ledger::retry::Retried;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_shared::ids::RunId;
use tidemark_shared::run::RunRequest;

use super::{print_runs, unknown};
use crate::app::App;
use crate::commands::ask;
use crate::exit::{Exit, UsageError};
use crate::output;

pub async fn cancel(app: &App, db: &DbPool, id: RunId, reason: Option<&str>) -> anyhow::Result<Exit> {
    match ledger::cancel::run(db, id, &app.actor(), reason).await? {
        Cancelled::Now { waiting, running } => {
            output::note(format!(
                "run {id} is cancelled: {waiting} chunks had not begun, {running} are dropped by their workers when \
                 they renew their leases; next: tidemark run retry {id}, or nothing"
            ));
            print_runs(app, &ledger::run::reports(db, &[id]).await?, false)?;
            Ok(Exit::Done)
        }
        Cancelled::Ended(status) => {
            let text = format!("run {id} has ended already: {}", status.as_str());
            Err(UsageError(text).into())
        }
        Cancelled::Unknown => Err(unknown(id).into()),
    }
}

/// Tries all dead and cancelled chunks of a run again, or only chunk `seq`.
pub async fn retry(app: &App, db: &DbPool, id: RunId, seq: Option<i32>) -> anyhow::Result<Exit> {
    let run = match ledger::retry::retry(db, id, seq, &app.actor()).await? {
        Retried::Again { chunks, left } => {
            output::note(format!("{chunks} chunks of run {id} are due again"));
            if left > 0 {
                output::note(format!(
                    "{left} others stay dead or cancelled, and with them the run ends failed: tidemark run retry {id} takes all"
                ));
            }
            id
        }
        Retried::NeverPlanned {
            tenant_id,
            run_type,
            request,
        } => {
            let request = RunRequest::read(request).map_err(|error| {
                UsageError(format!(
                    "run {id} ended before it had chunks, and {}",
                    report(&error)
                ))
            })?;
            let tenant = ask::ready_tenant(app, db, tenant_id).await?;
            let reason = Some(format!("retry of run {id}"));
            let run = ask::request(app, db, &tenant, run_type, reason, request).await?;
            output::note(format!(
                "run {id} ended before it had chunks: asked anew as run {run}"
            ));
            run
        }
        Retried::Nothing(status) => return Err(nothing(id, seq, status.as_str()).into()),
        Retried::OtherOpen => {
            let text = format!(
                "run {id} stays as it is: its tenant has another run of the kind open, which takes the same; \
                 `tidemark run list` shows it"
            );
            return Err(UsageError(text).into());
        }
        Retried::OtherSource(tenant) => {
            let text = format!(
                "run {id} was planned from another source than the one that tenant {tenant} has now: \
                 `tidemark sync --tenant {tenant}` plans from that one"
            );
            return Err(UsageError(text).into());
        }
        Retried::Unknown => return Err(unknown(id).into()),
    };
    print_runs(app, &ledger::run::reports(db, &[run]).await?, false)?;
    Ok(Exit::Done)
}

fn nothing(id: RunId, seq: Option<i32>, status: &str) -> UsageError {
    UsageError(match seq {
        Some(seq) => {
            format!(
                "chunk {id}/{seq} is neither dead nor cancelled: `tidemark chunk list --run {id}` shows those that are"
            )
        }
        None => format!(
            "run {id} ({status}) has no dead or cancelled chunk: `tidemark sync` or `resync` takes its part again"
        ),
    })
}
