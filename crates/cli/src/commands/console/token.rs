//! `tidemark console token …`.

use std::time::Duration;

use tidemark_console::auth::secret;
use tidemark_console::auth::who::Role;
use tidemark_ledger as ledger;
use tidemark_ledger::audit::Entry;
use tidemark_ledger::console::token::NewConsoleToken;
use tidemark_runtime::config::duration_within;
use tidemark_shared::audit::Action;
use tidemark_shared::ids::TenantId;

use super::scope;
use crate::app::App;
use crate::commands::one_of;
use crate::exit::{Exit, UsageError};
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Add a token; it is printed once
    Add {
        /// Name, such as the program that uses it
        name: String,
        /// What the token may do
        #[arg(long, value_name = "ROLE", default_value = "viewer", value_parser = one_of(&Role::OPERATORS, Role::as_str))]
        role: Role,
        /// Tenants that the token sees [default: all]
        #[arg(long, value_delimiter = ',', value_name = "1,2")]
        tenants: Option<Vec<TenantId>>,
        /// Time until it expires, such as 90days [default: never]
        #[arg(long, value_name = "DUR", value_parser = expiry)]
        expires: Option<Duration>,
    },
    /// List tokens
    List,
    /// Remove a token: it is refused at once
    Remove {
        /// Name of the token
        name: String,
    },
}

fn expiry(text: &str) -> Result<Duration, String> {
    const DAY: Duration = Duration::from_secs(86_400);
    duration_within(text, Duration::from_secs(60), DAY * 3650)
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Add {
                name,
                role,
                tenants,
                expires,
            } => add(app, &name, role, tenants.as_deref(), expires).await,
            Self::List => list(app).await,
            Self::Remove { name } => remove(app, &name).await,
        }
    }
}

async fn add(
    app: &App,
    name: &str,
    role: Role,
    tenants: Option<&[TenantId]>,
    expires: Option<Duration>,
) -> anyhow::Result<Exit> {
    let is_plain = name
        .chars()
        .all(|sign| sign.is_ascii_alphanumeric() || "._@+-".contains(sign));
    if !is_plain || !(1..=100).contains(&name.len()) {
        let text = "a token's name has 1 to 100 letters, digits and the signs . _ @ + -";
        return Err(UsageError(text.to_owned()).into());
    }
    let db = app.console_database().await?;
    let secret = secret::random_token();
    let tenants: Option<Vec<i32>> = tenants.map(|ids| ids.iter().map(|id| id.0).collect());
    let actor = app.actor();
    let token = NewConsoleToken {
        name,
        hash: &secret::hash(&secret),
        role: role.as_str(),
        tenants: tenants.as_deref(),
        created_by: actor.as_str(),
        valid_for: expires,
    };
    let mut tx = db.begin().await?;
    if !ledger::console::token::insert(&mut *tx, &token).await? {
        let text = format!(
            "there is a token {name} already: choose another name, or remove it with `tidemark console token remove {name}`"
        );
        return Err(UsageError(text).into());
    }
    let entry = Entry::new(Action::TokenAdd)
        .subject(format!("token {name}"))
        .after(serde_json::json!({"role": role.as_str(), "tenants": tenants}));
    ledger::audit::record(&mut *tx, &actor, &entry).await?;
    tx.commit().await?;
    output::note(format!("token {name} is added; it is not shown again:"));
    output::line(secret)?;
    Ok(Exit::Done)
}

async fn list(app: &App) -> anyhow::Result<Exit> {
    let tokens = ledger::console::token::list(&app.console_database().await?).await?;
    if app.json {
        output::json(&tokens)?;
        return Ok(Exit::Done);
    }
    let rows = tokens
        .iter()
        .map(|token| {
            vec![
                token.name.clone(),
                token.role.clone(),
                scope(token.tenants.as_ref()),
                token.created_by.clone(),
                output::time(Some(token.created_at)),
                output::time(token.expires_at),
                output::time(token.last_used_at),
            ]
        })
        .collect();
    output::table(
        &[
            "token",
            "role",
            "tenants",
            "by",
            "created",
            "expires",
            "last used",
        ],
        &[],
        rows,
    )?;
    Ok(Exit::Done)
}

async fn remove(app: &App, name: &str) -> anyhow::Result<Exit> {
    let db = app.console_database().await?;
    let mut tx = db.begin().await?;
    if !ledger::console::token::remove(&mut *tx, name).await? {
        let text = format!("there is no token {name}: `tidemark console token list` shows those there are");
        return Err(UsageError(text).into());
    }
    let entry = Entry::new(Action::TokenRemove).subject(format!("token {name}"));
    ledger::audit::record(&mut *tx, &app.actor(), &entry).await?;
    tx.commit().await?;
    output::note(format!("token {name} is removed"));
    Ok(Exit::Done)
}
