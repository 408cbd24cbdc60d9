//! `tidemark migrate`.

use anyhow::Context;
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgDatabaseError;
use tidemark_shared::config::{DatabasePooler, server_name};
use tidemark_shared::db::MIGRATOR;
use tidemark_shared::db::connect::{applied_migrations, options, probe, probe_lent};

use crate::app::App;
use crate::exit::{Exit, SetupError};
use crate::output;

#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Change nothing; exit 1 when migrations are pending
    #[arg(long)]
    check: bool,
    /// Take back every migration newer than this one, data included; 0 takes back all
    #[arg(long, value_name = "VERSION", conflicts_with = "check")]
    down_to: Option<i64>,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let url = app.settings.database_url()?;
        let what = "the analytics database";
        let behind_pooler = app.settings.database_pooler != DatabasePooler::None;
        if behind_pooler && !self.check {
            return Err(SetupError(
                "migrations lock the database for a session, which a pooler takes away: set TIDEMARK_DATABASE_POOLER=none \
                 and the database's own TIDEMARK_DATABASE_URL"
                    .into(),
            )
            .into());
        }
        let (options, server) = (options(url, what)?, server_name(url));
        let mut connection = if behind_pooler {
            probe_lent(options, &server, what).await?
        } else {
            probe(&options, &server, what).await?
        };
        let applied = applied_migrations(&mut connection)
            .await
            .context("read the applied migrations")?;
        let pending: Vec<_> = MIGRATOR
            .iter()
            .filter(|one| one.migration_type.is_up_migration() && !applied.contains(&one.version))
            .collect();
        if self.check {
            for one in &pending {
                output::line(format!("pending: {} {}", one.version, one.description))?;
            }
            if pending.is_empty() {
                output::note(format!("{} is up to date", server_name(url)));
            }
            return Ok(if pending.is_empty() {
                Exit::Done
            } else {
                Exit::Failed
            });
        }
        if let Some(version) = self.down_to {
            MIGRATOR
                .undo(&mut connection, version)
                .await
                .context("take migrations back")?;
            output::note(format!(
                "{}: migrations after {version} were taken back",
                server_name(url)
            ));
            return Ok(Exit::Done);
        }
        MIGRATOR.run(&mut connection).await.map_err(with_hint)?;
        match pending.len() {
            0 => output::note(format!("{} is up to date", server_name(url))),
            applied => output::note(format!("{}: {applied} migrations applied", server_name(url))),
        }
        Ok(Exit::Done)
    }
}

/// Keeps the server's hint, which says what an administrator has to run.
fn with_hint(error: MigrateError) -> anyhow::Error {
    let hint = match &error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error
            .as_database_error()
            .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
            .and_then(PgDatabaseError::hint)
            .map(str::to_owned),
        _ => None,
    };
    match hint {
        Some(hint) => anyhow::Error::new(error).context(format!("migrate: {hint}")),
        None => anyhow::Error::new(error).context("migrate"),
    }
}
