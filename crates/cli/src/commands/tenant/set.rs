//! `tidemark tenant set`.

use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_ledger::tenant::TenantChange;
use tidemark_operations::tenants;
use tidemark_operations::tenants::change::{change, change_privacy};
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_shared::privacy::PrivacyChange;
use tidemark_shared::tenant::{CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, MAX_IN_FLIGHT_MAX, Tenant};

use super::{Off, discovery, note_missing_key, show, switch, verify_interval};
use crate::app::App;
use crate::commands::bounds;
use crate::exit::Exit;
use crate::output;

const DAY: Duration = Duration::from_secs(86_400);
/// What the digest of one conversation costs the source.
const READ_ONE: Duration = Duration::from_micros(1);

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true)
    .args(["name", "slug", "source", "account_id", "timezone", "chunk_size", "max_in_flight", "sync_interval", "verify_interval",
           "privacy", "discover"]))]
pub struct Args {
    /// Tenant id
    #[arg(long, aliases = ["tenant-id", "id"], value_name = "N")]
    tenant: TenantId,
    /// Name for people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Short name for URLs
    #[arg(long, value_name = "S")]
    slug: Option<String>,
    /// Name of the configured source; only before the tenant's first sync, later use `tenant move`
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Id of the Chatwoot account; its inboxes are mapped at once, and new ones by the plans
    #[arg(long, value_name = "N")]
    account_id: Option<i32>,
    /// Whether plans map new inboxes of the account; `off` leaves them, and `status` names them
    #[arg(long, value_name = "on|off", value_parser = switch)]
    discover: Option<bool>,
    /// IANA time zone of the calendar columns, such as America/Sao_Paulo
    #[arg(long, value_name = "TEXT")]
    timezone: Option<String>,
    /// Conversations per chunk, from the next run on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(i64::from(CHUNK_SIZE_MIN)..=i64::from(CHUNK_SIZE_MAX)))]
    chunk_size: Option<i32>,
    /// Most chunks queued or running at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=i64::from(MAX_IN_FLIGHT_MAX)))]
    max_in_flight: Option<i32>,
    /// Time between two syncs, such as 1s or 5m; says what it costs
    #[arg(long, value_name = "DUR", value_parser = bounds::interval)]
    sync_interval: Option<Duration>,
    /// Treatment of personal data, such as contact_email=hash,message_text=null; other columns keep their treatment
    #[arg(long, value_name = "COLUMN=TREATMENT,…")]
    privacy: Option<PrivacyChange>,
    /// Time between two comparisons with the source, such as 24h, or `off`
    #[arg(long, value_name = "DUR", value_parser = verify_interval)]
    verify_interval: Option<Off>,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        let tenant = tenants::load(&db, self.tenant).await?;
        let is_other_timezone = self
            .timezone
            .as_ref()
            .is_some_and(|name| *name != tenant.timezone);
        let wanted = TenantChange {
            name: self.name,
            slug: self.slug,
            source: self.source,
            account_id: self.account_id,
            timezone: self.timezone,
            chunk_size: self.chunk_size,
            max_in_flight: self.max_in_flight,
            sync_interval: self.sync_interval,
            verify_interval: self.verify_interval.map(|Off(interval)| interval),
            discover: self.discover,
        };
        change(&db, &app.actor(), &tenant, &wanted).await?;
        if let Some(privacy) = &self.privacy {
            let (policy, backfill) = change_privacy(&db, &app.actor(), &tenant, privacy).await?;
            note_missing_key(app, &policy);
            if let Some(run) = backfill {
                output::note(format!(
                    "run {run} rewrites the stored rows; next: tidemark run watch {run}"
                ));
            }
        }
        if is_other_timezone {
            output::note(format!(
                "the calendar columns of stored rows keep the old time zone; next: tidemark sync --tenant {} --full",
                tenant.id
            ));
        }
        if let Some(interval) = self.sync_interval {
            note_cost(app, &db, &tenant, interval).await?;
        }
        if self.account_id.is_some() || self.discover.is_some() {
            let changed = tenants::load(&db, tenant.id).await?;
            discovery::look_up(app, &db, &changed, "changed").await?;
        }
        show(app, tenant.id).await
    }
}

/// Says what an interval costs the source and the ledger.
async fn note_cost(app: &App, db: &DbPool, tenant: &Tenant, interval: Duration) -> anyhow::Result<()> {
    let plans = i64::try_from(DAY.as_secs() / interval.as_secs().max(1))?;
    let digest_interval = app.settings.producer.digest_interval;
    let mut target = ledger::target::begin(db, tenant.id).await?;
    let rows = ledger::target::count_live(&mut target, tenant.id).await?;
    target.rollback().await?;
    let at_source = if digest_interval.is_zero() {
        let reading = READ_ONE.saturating_mul(u32::try_from(rows).unwrap_or(u32::MAX));
        let share = reading.as_secs_f64() / interval.as_secs_f64() * 100.0;
        format!(
            "Each compares the digests of the tenant's {} conversations: about {share:.1} % of a core of its source. \
             `producer.digest_interval` and the suggested indexes spare that",
            output::count(rows)
        )
    } else {
        format!(
            "With the suggested indexes (`tidemark doctor` names those that are missing) each reads only what changed \
             just before, every 10 s what changed in the lookback, and every {} the digests of the tenant's {} conversations",
            humantime::format_duration(digest_interval),
            output::count(rows)
        )
    };
    output::note(format!(
        "at most {} plans a day, and for each that finds changes a run and a chunk in the ledger. {at_source}: see \
         docs/scaling.md, live tenants",
        output::count(plans)
    ));
    Ok(())
}
