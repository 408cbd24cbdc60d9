//! `tidemark import-legacy`.

mod print;

use std::str::FromStr;
use std::time::Duration;

use chrono_tz::Tz;
use tidemark_net::url::ServerUrl;
use tidemark_operations::script_import::ScriptDatabase;
use tidemark_operations::script_import::import::{ImportOptions, PlannedImport};
use tidemark_shared::ids::TenantId;

use super::bounds;
use crate::app::App;
use crate::exit::{Exit, UsageError};
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Database of the script [default: the analytics database] [env: TIDEMARK_LEGACY_URL, TIDEMARK_LEGACY_URL_FILE]
    #[arg(long, value_name = "URL")]
    from: Option<ServerUrl>,
    /// Schema of the script's tables
    #[arg(long, default_value = "public", value_name = "NAME")]
    schema: String,
    /// Time zone of the script's clock, such as America/Sao_Paulo
    #[arg(long, default_value = "UTC", value_name = "TZ")]
    timezone: Tz,
    /// Time zone of watermark_end, where the script took it from Chatwoot's clock [default: --timezone]
    #[arg(long, value_name = "TZ")]
    watermark_timezone: Option<Tz>,
    /// Name of the configured source with the script's inboxes
    #[arg(long, default_value = "main", value_name = "NAME")]
    source: String,
    /// New ids for tenants whose old ids are taken or not positive
    #[arg(long, value_delimiter = ',', value_name = "OLD=NEW,…")]
    tenant_map: Vec<Renumbered>,
    /// Time zone of the tenants' calendar columns [default: from the script's tenants, else UTC]
    #[arg(long, value_name = "TZ")]
    tenant_timezone: Option<Tz>,
    /// The first sync starts this long before the end of the script's last successful run
    #[arg(long, default_value = "1h", value_name = "DUR", value_parser = bounds::age)]
    overlap: Duration,
    /// Do not import rows: dashboards stay empty until the history has been read from the source
    #[arg(long)]
    no_rows: bool,
    /// Print what would be imported, and import nothing
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
        let from = self.old_database(app)?;
        let sources = app.sources()?;
        let source = sources.get(&self.source)?;
        source.check().await?;
        let legacy = ScriptDatabase::open(&from, &self.schema).await?;
        let options = ImportOptions {
            schema: self.schema,
            timezone: self.timezone,
            watermark_timezone: self.watermark_timezone.unwrap_or(self.timezone),
            ids: self.tenant_map.iter().map(|ids| (ids.old, ids.new)).collect(),
            tenant_timezone: self.tenant_timezone,
            overlap: self.overlap,
            with_rows: !self.no_rows,
        };
        let planned = PlannedImport::plan(&db, source, legacy, options, self.dry_run).await?;
        if planned.script_is_running {
            output::note("a run of the script is under way: stop the script for good before the import");
        }
        print::unknown_inboxes(&self.source, &planned.unknown_inboxes);
        let report = planned.execute(&app.actor()).await?;
        print::report(&report, app.json)?;
        if report.has_clashes() {
            output::note("nothing is imported while a tenant clashes");
            return Ok(Exit::Failed);
        }
        Ok(Exit::Done)
    }

    fn old_database(&mut self, app: &App) -> anyhow::Result<ServerUrl> {
        let from = self.from.take().or_else(|| app.settings.legacy_url.clone());
        match from {
            Some(url) => Ok(url),
            None if self.schema == "public" => {
                let text = "name the old database with --from, or with --schema the schema of its tables in this one";
                Err(UsageError(text.to_owned()).into())
            }
            None => Ok(app.settings.database_url()?.clone()),
        }
    }
}
