//! `tidemark tenant set`.

use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::privacy::PolicyChanged;
use tidemark_ledger::tenant::TenantChange;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_shared::privacy::PrivacyChange;
use tidemark_shared::tenant::{CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, Tenant};

use super::{Off, check, check_timezone, note_missing_key, show, taken, verify_interval};
use crate::app::App;
use crate::commands::{ask, bounds};
use crate::exit::{Exit, UsageError};
use crate::output;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true)
    .args(["name", "slug", "source", "account_id", "timezone", "chunk_size", "max_in_flight", "sync_interval", "verify_interval",
           "privacy"]))]
pub struct Args {
    /// Tenant's id
    #[arg(long, aliases = ["tenant-id", "id"], value_name = "N")]
    tenant: TenantId,
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Short name for URLs
    #[arg(long, value_name = "S")]
    slug: Option<String>,
    /// Configured source that the tenant's inboxes are in; only before its first sync, then see `tenant move`
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Chatwoot account, for `inbox discover`
    #[arg(long, value_name = "N")]
    account_id: Option<i32>,
    /// IANA time zone of the calendar columns, such as America/Sao_Paulo
    #[arg(long, value_name = "TEXT")]
    timezone: Option<String>,
    /// Conversations a chunk, from the next run on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(i64::from(CHUNK_SIZE_MIN)..=i64::from(CHUNK_SIZE_MAX)))]
    chunk_size: Option<i32>,
    /// Chunks queued or running at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1000))]
    max_in_flight: Option<i32>,
    /// Pause between two syncs, such as 30s or 5m
    #[arg(long, value_name = "DUR", value_parser = bounds::interval)]
    sync_interval: Option<Duration>,
    /// What of personal data is stored, such as contact_email=hash,message_text=null; columns that are not named stay as they are
    #[arg(long, value_name = "COLUMN=TREATMENT,…")]
    privacy: Option<PrivacyChange>,
    /// Pause between two comparisons with the source, such as 24h, or `off`
    #[arg(long, value_name = "DUR", value_parser = verify_interval)]
    verify_interval: Option<Off>,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        check(self.name.as_deref())?;
        let db = app.database(0).await?;
        let tenant = app.tenant(&db, self.tenant).await?;
        if let Some(timezone) = &self.timezone {
            check_timezone(&db, timezone).await?;
        }
        let slug = self.slug.clone().unwrap_or_default();
        let new_timezone = self.timezone.clone().filter(|name| *name != tenant.timezone);
        let change = TenantChange {
            name: self.name,
            slug: self.slug,
            source: self.source,
            account_id: self.account_id,
            timezone: self.timezone,
            chunk_size: self.chunk_size,
            max_in_flight: self.max_in_flight,
            sync_interval: self.sync_interval,
            verify_interval: self.verify_interval.map(|Off(interval)| interval),
        };
        let mut tx = db.begin().await.attempt("begin a transaction")?;
        if change
            .source
            .as_ref()
            .is_some_and(|source| *source != tenant.source)
        {
            let has_history = ledger::tenant_move::lock_and_check_history(&mut tx, tenant.id).await?;
            check_source_may_change(&tenant, has_history == Some(true))?;
        }
        let changed = ledger::tenant::update(&mut *tx, tenant.id, &change)
            .await
            .map_err(|error| taken(&error, tenant.id, &slug).unwrap_or(error.into()))?;
        if !changed {
            return Err(UsageError(format!("tenant {} was removed just now", tenant.id)).into());
        }
        tx.commit().await.attempt("change the tenant")?;
        if let Some(privacy) = &self.privacy {
            change_policy(app, &db, &tenant, privacy).await?;
        }
        if new_timezone.is_some() {
            output::note(format!(
                "the calendar columns of rows that are there stay as they are; next: tidemark sync --tenant {} --full",
                tenant.id
            ));
        }
        show(app, tenant.id).await
    }
}

/// Rows that are there are written anew by a run of its own.
async fn change_policy(
    app: &App,
    db: &DbPool,
    tenant: &Tenant,
    change: &PrivacyChange,
) -> anyhow::Result<()> {
    let policy = tenant.privacy.clone().with(change);
    note_missing_key(app, &policy);
    let asked = ask::prepared(
        app,
        tenant,
        Some("what is stored of personal data was changed".to_owned()),
    );
    let changed = ledger::privacy::set_policy(db, tenant.id, &policy, &asked).await?;
    if let Some(PolicyChanged { backfill: Some(run) }) = changed {
        output::note(format!(
            "run {run} writes the rows that are there anew; next: tidemark run watch {run}"
        ));
    }
    Ok(())
}

/// Rows, watermark, digests and inboxes are about the source that they came from.
fn check_source_may_change(tenant: &Tenant, has_history: bool) -> Result<(), UsageError> {
    if !has_history {
        return Ok(());
    }
    Err(UsageError(format!(
        "tenant {0} is synced from source `{1}` already, or its first sync was begun. `tidemark tenant move --tenant {0} \
         --source NAME --reason TEXT` marks its rows deleted and begins anew from another source; where `{1}` itself is on \
         another server now, change its URL in the settings",
        tenant.id, tenant.source
    )))
}
