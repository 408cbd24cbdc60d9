//! `tidemark import-legacy`: takes tenants, inboxes, watermarks and rows over from the database of the Python script.

mod plan;
mod show;

use std::str::FromStr;
use std::time::Duration;

use chrono_tz::Tz;
use secrecy::SecretString;
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_operations::script_import::Legacy;
use tidemark_operations::script_import::load::{row_columns, take_over};
use tidemark_postgres::DbPool;
use tidemark_postgres::connect::prefer_lz4;
use tidemark_shared::ids::TenantId;
use tidemark_shared::tenant::TenantStatus;
use tidemark_source::Source;

use self::plan::{Here, State, Step, There, Wanted};
use self::show::Report;
use super::bounds;
use crate::app::App;
use crate::exit::{Exit, UsageError};
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its database; without it Tidemark's own [env: TIDEMARK_LEGACY_URL, TIDEMARK_LEGACY_URL_FILE]
    #[arg(long, value_name = "URL")]
    from: Option<SecretString>,
    /// Schema that its tables are in
    #[arg(long, default_value = "public", value_name = "NAME")]
    schema: String,
    /// Time zone that its etl_control was written in, such as America/Sao_Paulo
    #[arg(long, default_value = "UTC", value_name = "TZ")]
    timezone: Tz,
    /// Configured source that its inboxes are in
    #[arg(long, default_value = "main", value_name = "NAME")]
    source: String,
    /// Other ids for its tenants, where theirs are taken or not positive
    #[arg(long, value_delimiter = ',', value_name = "OLD=NEW,…")]
    tenant_map: Vec<Renumbered>,
    /// Time zone of the tenants' calendar columns [default: what its tenants say, else UTC]
    #[arg(long, value_name = "TZ")]
    tenant_timezone: Option<Tz>,
    /// How far before its last successful run the first sync looks
    #[arg(long, default_value = "1h", value_name = "DUR", value_parser = bounds::age)]
    overlap: Duration,
    /// Leave its rows where they are: dashboards see nothing until the history has been read anew
    #[arg(long)]
    no_rows: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// `OLD=NEW`.
#[derive(Debug, Clone, Copy)]
struct Renumbered {
    old: i32,
    new: TenantId,
}

impl FromStr for Renumbered {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |(old, new): (&str, &str)| {
            Some(Self {
                old: old.trim().parse().ok()?,
                new: new.trim().parse().ok()?,
            })
        };
        text.split_once('=')
            .and_then(parse)
            .ok_or_else(|| format!("`{text}`: write the old and the new id, such as 0=100"))
    }
}

impl Args {
    pub async fn run(mut self, app: &App) -> anyhow::Result<Exit> {
        let db = app.isolated_database(0).await?;
        let from = self.from.take().or_else(|| app.settings.legacy_url.clone());
        let from = match from {
            Some(url) => url,
            None if self.schema == "public" => {
                let text = "name the old database with --from, or with --schema the schema of this one that its tables are in";
                return Err(UsageError(text.to_owned()).into());
            }
            None => app.settings.database_url()?.clone(),
        };
        let sources = app.sources()?;
        let source = sources.get(&self.source)?;
        source.check().await?;
        let mut legacy = Legacy::open(&from, &self.schema).await?;
        let steps = self.plan(&db, source, &mut legacy).await?;
        let mut report = Report::new(&legacy, &self.schema, self.dry_run, steps);
        if !self.no_rows {
            let not_null = ledger::target::not_null_columns(&db).await?;
            report
                .ignored
                .extend(legacy.ignored_of_rows(&row_columns(&not_null)));
            for tenant in &mut report.tenants {
                let (all, taken) = legacy.count_rows(tenant.old_id, &tenant.inbox_ids()).await?;
                tenant.rows = taken;
                tenant.rows_left = all - taken;
            }
        }
        if legacy.is_running().await? {
            output::note("the script has a run under way: stop it for good before its tables are taken over");
        }
        self.note_unknown_inboxes(source, &report.tenants).await?;
        let clashes = report
            .tenants
            .iter()
            .any(|step| matches!(step.state, State::Clash));
        if !self.dry_run && !clashes {
            for step in &mut report.tenants {
                if step.state == State::New {
                    self.import(app, &db, &mut legacy, step).await?;
                }
            }
        }
        legacy.close().await;
        report.print(app.json)?;
        if clashes {
            output::note("nothing is taken over as long as something clashes");
            return Ok(Exit::Failed);
        }
        Ok(Exit::Done)
    }

    async fn plan(&self, db: &DbPool, source: &Source, legacy: &mut Legacy) -> anyhow::Result<Vec<Step>> {
        let there = There {
            tenants: legacy.tenants().await?,
            inboxes: legacy.inboxes().await?,
            watermarks: legacy.watermarks().await?,
        };
        let inboxes: Vec<i32> = there.inboxes.iter().map(|inbox| inbox.inbox_id).collect();
        let here = Here {
            tenants: ledger::tenant::list(db).await?,
            removed: ledger::tenant::list_removed(db).await?,
            owners: ledger::inbox::list_owners(db, &self.source, &inboxes).await?,
            clock: source.observe().await?.sample.sampled_at,
        };
        let wanted = Wanted {
            ids: self.tenant_map.iter().map(|ids| (ids.old, ids.new)).collect(),
            timezone: self.timezone,
            tenant_timezone: self.tenant_timezone,
            overlap: self.overlap,
        };
        Ok(plan::plan(there, &here, &wanted)?)
    }

    /// A tenant comes over whole or not at all.
    async fn import(
        &self,
        app: &App,
        db: &DbPool,
        legacy: &mut Legacy,
        step: &mut Step,
    ) -> anyhow::Result<()> {
        let tenant = step.tenant_id;
        let mut tx = db.begin().await.attempt("begin a transaction")?;
        ledger::tenant::insert(&mut *tx, &step.new_tenant(&self.source)).await?;
        if step.status != TenantStatus::Active {
            ledger::tenant::set_status(&mut *tx, tenant, step.status).await?;
        }
        ledger::inbox::map(&mut *tx, &self.source, tenant, &step.inboxes).await?;
        if let Some(watermark) = step.watermark {
            let reason = format!(
                "taken over from schema {} at {}, whose last successful run ended at {}",
                self.schema,
                legacy.server(),
                step.watermark_end.as_deref().unwrap_or_default()
            );
            ledger::watermark::set(&mut tx, tenant, watermark, &app.actor(), &reason).await?;
        }
        if !self.no_rows {
            prefer_lz4(&mut tx, true)
                .await
                .attempt("choose how rows are compressed")?;
            let ids = (step.old_id, tenant);
            let taken = take_over(&mut tx, legacy, ids, &step.inbox_ids(), self.timezone.name()).await?;
            step.rows = i64::try_from(taken).expect("rows of a tenant fit in 63 bits");
        }
        tx.commit().await.attempt("take the tenant over")?;
        step.state = State::Imported;
        Ok(())
    }

    /// Conversations may outlive their inbox, so this is no error; another source is the likelier reason.
    async fn note_unknown_inboxes(&self, source: &Source, steps: &[Step]) -> anyhow::Result<()> {
        let new = steps.iter().filter(|step| step.state == State::New);
        let ids: Vec<i32> = new.flat_map(Step::inbox_ids).collect();
        let known = source.inboxes(None, Some(&ids)).await?;
        let unknown: Vec<String> = ids
            .iter()
            .filter(|id| !known.iter().any(|inbox| inbox.id == **id))
            .map(ToString::to_string)
            .collect();
        if !unknown.is_empty() {
            output::note(format!(
                "source `{}` has no inbox {} just now",
                self.source,
                unknown.join(", ")
            ));
        }
        Ok(())
    }
}
