//! `tidemark migrate`.

use anyhow::Context;
use sqlx::PgConnection;
use tidemark_ledger::MIGRATOR;
use tidemark_ledger::encoding;
use tidemark_ledger::migrate::{Error, Migrations};
use tidemark_ledger::migrations::{Schema, applied_migrations, objects_in_the_way, schema, ups};
use tidemark_ledger::rights;
use tidemark_net::url::{ServerUrl, server_name};
use tidemark_postgres::Connector;
use tidemark_postgres::connect::DatabasePooler;

use crate::app::App;
use crate::exit::{Exit, SetupError};
use crate::output;

#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Change nothing, and exit 1 when migrations are pending
    #[arg(long)]
    check: bool,
    /// Revert every migration newer than this one, with its data; 0 reverts all
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
                "migrations need a session lock, which a pooler does not keep: set TIDEMARK_DATABASE_POOLER=none \
                 and the database's own TIDEMARK_DATABASE_URL"
                    .into(),
            )
            .into());
        }
        let connector = Connector::new(url, what, true, |options| options)?;
        let mut connection = if behind_pooler {
            connector.probe_pooler().await?
        } else {
            connector.probe().await?
        };
        if self.down_to.is_none() {
            refuse_encoding(&mut connection, &server_name(url)).await?;
        }
        let applied = match applied_migrations(&mut connection).await {
            Ok(applied) => applied,
            Err(error) => {
                refuse_foreign_owner(&mut connection, url).await?;
                return Err(error).context("read the applied migrations");
            }
        };
        let is_applied = |version| applied.iter().any(|one| one.version == version);
        let pending: Vec<_> = ups(&MIGRATOR).filter(|one| !is_applied(one.version)).collect();
        if let (Schema::TooNew(version), None) = (schema(&applied), self.down_to) {
            return Err(SetupError(format!("{}: {}", server_name(url), Error::TooNew(version))).into());
        }
        if self.check {
            for one in &pending {
                output::line(format!("pending: {} {}", one.version, one.description))?;
            }
            if pending.is_empty() {
                output::note(up_to_date(&server_name(url), schema(&applied)));
            }
            return Ok(if pending.is_empty() {
                Exit::Done
            } else {
                Exit::Failed
            });
        }
        if applied.is_empty() && self.down_to.is_none() {
            refuse_foreign_objects(&mut connection, &server_name(url)).await?;
        }
        if self.down_to.is_some() || !pending.is_empty() {
            check_rights(&mut connection, url).await?;
        }
        if pending.is_empty() && self.down_to.is_none() {
            // this needs no rights to migrate
            output::note(up_to_date(&server_name(url), schema(&applied)));
            return Ok(Exit::Done);
        }
        let mut watcher = connector.probe().await?;
        let migrations = Migrations::new(&MIGRATOR);
        let mut report = |text: String| output::note(text);
        let said = match self.down_to {
            Some(version) => {
                let reverted = migrations
                    .down(&mut connection, &mut watcher, version, &mut report)
                    .await;
                reverted.map(|_| format!("migrations after {version} were reverted"))
            }
            None => {
                let applied = migrations.up(&mut connection, &mut watcher, &mut report).await;
                applied.map(|count| format!("{count} migrations applied"))
            }
        };
        match said {
            Ok(said) => output::note(format!("{}: {said}", server_name(url))),
            Err(error @ (Error::TooNew(_) | Error::CannotRevert(_))) => {
                return Err(SetupError(format!("{}: {error}", server_name(url))).into());
            }
            Err(error) if self.down_to.is_some() => return Err(error).context("revert migrations"),
            Err(error) => return Err(error).context("migrate"),
        }
        Ok(Exit::Done)
    }
}

fn up_to_date(server: &str, schema: Schema) -> String {
    match schema {
        Schema::Newer(count) => format!(
            "{server} is up to date, and has migrations of a newer tidemark ({count}), which this build works with"
        ),
        _ => format!("{server} is up to date"),
    }
}

/// Refuses a database that cannot store every text.
async fn refuse_encoding(connection: &mut PgConnection, server: &str) -> anyhow::Result<()> {
    let wrong = encoding::find_wrong(connection)
        .await
        .context("read the encoding of the database")?;
    let Some(wrong) = wrong else { return Ok(()) };
    Err(SetupError(format!(
        "{server} cannot be used: {}. Nothing was changed. Create another database, and put its name into \
         TIDEMARK_DATABASE_URL\n  {}",
        wrong.problem(),
        wrong.statement
    ))
    .into())
}

/// Refuses to migrate a database with other objects of the same names, such as those of the Python script. They have to be
/// moved first; nothing is changed here.
async fn refuse_foreign_objects(connection: &mut PgConnection, server: &str) -> anyhow::Result<()> {
    let found = objects_in_the_way(connection)
        .await
        .context("look for tables in the way")?;
    if found.names.is_empty() {
        return Ok(());
    }
    Err(SetupError(format!(
        "{server} has tables with the names of Tidemark's tables that are not Tidemark's: {}. Nothing was changed. Use another \
         database, or move these as their owner, migrate again, and import them with `tidemark import-legacy --schema \
         legacy`\n  {}",
        found.names.join(", "),
        found.statements.join("\n  ")
    ))
    .into())
}

/// Checks the rights of the login before the first migration.
async fn check_rights(connection: &mut PgConnection, url: &ServerUrl) -> anyhow::Result<()> {
    refuse_foreign_owner(connection, url).await?;
    let lacking = rights::list_missing(connection).await?;
    if lacking.is_empty() {
        return Ok(());
    }
    let text = format!(
        "the login at {} lacks rights for the migrations; run this as a superuser, and migrate again\n  {}",
        server_name(url),
        lacking.join("\n  ")
    );
    Err(SetupError(text).into())
}

/// Only the owner of the tables may migrate them.
async fn refuse_foreign_owner(connection: &mut PgConnection, url: &ServerUrl) -> anyhow::Result<()> {
    let Some(owner) = rights::foreign_owner(connection).await? else {
        return Ok(());
    };
    let server = server_name(url);
    let text = format!(
        "the tables at {server} belong to {owner}: run `tidemark migrate` as {owner}; other processes may use another login"
    );
    Err(SetupError(text).into())
}
