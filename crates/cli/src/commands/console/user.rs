//! `tidemark console user …`.

use std::io::Read;
use std::path::PathBuf;

use tidemark_console::auth::password;
use tidemark_console::auth::who::Role;
use tidemark_ledger as ledger;
use tidemark_ledger::audit::Entry;
use tidemark_ledger::console::user::NewConsoleUser;
use tidemark_operations::tenants;
use tidemark_shared::audit::Action;
use tidemark_shared::ids::TenantId;

use super::scope;
use crate::app::App;
use crate::commands::one_of;
use crate::exit::{Exit, UsageError};
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Add a user; the password comes from a file, from stdin, or is made and printed once
    Add {
        /// Name: letters, digits and `.`, `_`, `@`, `+`, `-`
        name: String,
        /// What the user may do
        #[arg(long, value_name = "ROLE", default_value = "viewer", value_parser = one_of(&Role::ALL, Role::as_str))]
        role: Role,
        /// Tenants that the user sees [default: all]
        #[arg(long, value_delimiter = ',', value_name = "1,2")]
        tenants: Option<Vec<TenantId>>,
        /// The one tenant whose page the user sees, with the role `tenant`
        #[arg(
            long,
            value_name = "ID",
            conflicts_with = "tenants",
            required_if_eq("role", "tenant")
        )]
        tenant: Option<TenantId>,
        /// The user may look at values of conversations; each look is recorded
        #[arg(long)]
        sees_values: bool,
        #[command(flatten)]
        password: Password,
        /// No password: a proxy names the user (console.auth = "proxy")
        #[arg(long, conflicts_with = "password_file")]
        no_password: bool,
        /// Leave a user of that name as it is, password included
        #[arg(long)]
        keep: bool,
    },
    /// List users
    List,
    /// Set a user's password, and end the user's sessions
    Passwd {
        /// Name of the user
        name: String,
        #[command(flatten)]
        password: Password,
    },
    /// Remove a user, and end the user's sessions
    Remove {
        /// Name of the user
        name: String,
    },
}

#[derive(Debug, clap::Args)]
pub struct Password {
    /// Read the password from a file, or from stdin with `-` [default: a new one is made and printed]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl Password {
    /// The password, and whether it was made here.
    fn read(&self) -> anyhow::Result<(String, bool)> {
        let Some(file) = &self.password_file else {
            return Ok((tidemark_console::auth::secret::random(), true));
        };
        let mut text = String::new();
        if file.as_os_str() == "-" {
            std::io::stdin().read_to_string(&mut text)?;
        } else {
            text = std::fs::read_to_string(file)
                .map_err(|error| UsageError(format!("cannot read {}: {error}", file.display())))?;
        }
        let text = text.trim_end_matches(['\r', '\n']).to_owned();
        if let Some(fault) = password::fault(&text) {
            return Err(UsageError(fault).into());
        }
        Ok((text, false))
    }
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Add {
                name,
                role,
                tenants,
                tenant,
                sees_values,
                password,
                no_password,
                keep,
            } => {
                if tenant.is_some() && role != Role::Tenant {
                    let text = format!(
                        "--tenant goes with --role tenant: write --tenants for the role {}",
                        role.as_str()
                    );
                    return Err(UsageError(text).into());
                }
                let tenants = tenants.or_else(|| tenant.map(|id| vec![id]));
                let password = if no_password { None } else { Some(password.read()?) };
                let tenants: Option<Vec<i32>> = tenants.map(|ids| ids.iter().map(|id| id.0).collect());
                let hash = password.as_ref().map(|(text, _)| password::hash(text));
                let user = NewConsoleUser {
                    name: &name,
                    password_hash: hash.as_deref(),
                    role: role.as_str(),
                    tenants: tenants.as_deref(),
                    sees_values,
                };
                if !add(app, &user, keep).await? {
                    output::note(format!("user {name} is kept as it is"));
                } else if let Some((text, true)) = password {
                    output::note(format!(
                        "user {name} is added; the password, which is not shown again:"
                    ));
                    output::line(text)?;
                } else {
                    output::note(format!("user {name} is added"));
                }
                Ok(Exit::Done)
            }
            Self::List => list(app).await,
            Self::Passwd { name, password } => passwd(app, &name, &password).await,
            Self::Remove { name } => remove(app, &name).await,
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name
            .chars()
            .all(|sign| sign.is_ascii_alphanumeric() || "._@+-".contains(sign))
}

/// Whether the user is new. An existing one is an error, unless it is to be kept.
async fn add(app: &App, user: &NewConsoleUser<'_>, keep: bool) -> anyhow::Result<bool> {
    if !is_name(user.name) {
        let text = "a user's name has 1 to 100 letters, digits and the signs . _ @ + -";
        return Err(UsageError(text.to_owned()).into());
    }
    let db = app.console_database().await?;
    let is_tenants = user.role == Role::Tenant.as_str();
    for id in user.tenants.unwrap_or_default().iter().filter(|_| is_tenants) {
        tenants::load(&db, TenantId(*id)).await?;
    }
    let mut tx = db.begin().await?;
    if !ledger::console::user::insert(&mut *tx, user).await? {
        if keep {
            return Ok(false);
        }
        let text = format!(
            "there is a user {0} already: `tidemark console user passwd {0}` sets another password",
            user.name
        );
        return Err(UsageError(text).into());
    }
    let after =
        serde_json::json!({"role": user.role, "tenants": user.tenants, "sees_values": user.sees_values});
    let entry = Entry::new(Action::UserAdd)
        .subject(format!("user {}", user.name))
        .after(after);
    ledger::audit::record(&mut *tx, &app.actor(), &entry).await?;
    tx.commit().await?;
    Ok(true)
}

async fn list(app: &App) -> anyhow::Result<Exit> {
    let users = ledger::console::user::list(&app.console_database().await?).await?;
    if app.json {
        output::json(&users)?;
        return Ok(Exit::Done);
    }
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let rows = users
        .iter()
        .map(|user| {
            vec![
                user.name.clone(),
                user.role.clone(),
                scope(user.tenants.as_ref()),
                yes(user.sees_values),
                yes(user.has_password),
                output::time(Some(user.created_at)),
            ]
        })
        .collect();
    output::table(
        &["user", "role", "tenants", "sees values", "password", "created"],
        &[],
        rows,
    )?;
    Ok(Exit::Done)
}

fn unknown(name: &str) -> UsageError {
    UsageError(format!(
        "there is no user {name}: `tidemark console user list` shows those there are"
    ))
}

async fn passwd(app: &App, name: &str, password: &Password) -> anyhow::Result<Exit> {
    let (text, is_made) = password.read()?;
    let db = app.console_database().await?;
    let mut tx = db.begin().await?;
    if !ledger::console::user::set_password(&mut *tx, name, &password::hash(&text)).await? {
        return Err(unknown(name).into());
    }
    let ended = ledger::console::session::remove_of_user(&mut *tx, name).await?;
    let entry = Entry::new(Action::UserChange)
        .subject(format!("user {name}"))
        .after(serde_json::json!({"password": "changed", "sessions_ended": ended}));
    ledger::audit::record(&mut *tx, &app.actor(), &entry).await?;
    tx.commit().await?;
    output::note(format!(
        "the password of {name} is changed, and {ended} sessions are ended"
    ));
    if is_made {
        output::line(text)?;
    }
    Ok(Exit::Done)
}

async fn remove(app: &App, name: &str) -> anyhow::Result<Exit> {
    let db = app.console_database().await?;
    let mut tx = db.begin().await?;
    if !ledger::console::user::remove(&mut *tx, name).await? {
        return Err(unknown(name).into());
    }
    let entry = Entry::new(Action::UserRemove).subject(format!("user {name}"));
    ledger::audit::record(&mut *tx, &app.actor(), &entry).await?;
    tx.commit().await?;
    output::note(format!("user {name} is removed"));
    Ok(Exit::Done)
}
