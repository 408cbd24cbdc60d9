//! `tidemark tenant login …`.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use secrecy::SecretString;
use tidemark_operations::tenant_logins::{self, LoginRequest};
use tidemark_shared::ids::TenantId;

use crate::app::App;
use crate::exit::{Exit, UsageError};
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Bind a database login to a tenant, and make it if it is not there
    Add {
        /// Tenant id
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
        /// Name of the login
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Let it write tables of the schema `enrichment` too
        #[arg(long)]
        writes_enrichment: bool,
        /// Read the password of a new login from a file, or from stdin with `-` [default: ask for it]
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// List the logins that are bound to tenants
    List {
        /// Only those of this tenant
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: Option<TenantId>,
    },
    /// Take a login's rights, and drop it if `add` has made it
    Remove {
        /// Name of the login
        #[arg(long, value_name = "NAME")]
        name: String,
    },
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        match self {
            Self::Add {
                tenant,
                name,
                writes_enrichment,
                password_file,
            } => {
                let request = LoginRequest {
                    name: &name,
                    tenant,
                    writes_enrichment,
                };
                let password = match tenant_logins::is_new(&db, request).await? {
                    true => Some(read_password(&name, password_file)?),
                    false => {
                        if password_file.is_some() {
                            output::note(format!(
                                "the login {name} is there already and keeps its password"
                            ));
                        }
                        None
                    }
                };
                tenant_logins::add(&db, &app.actor(), request, password.as_ref()).await?;
                output::note(format!(
                    "the login {name} is bound to tenant {tenant}: whatever SQL it sends, it sees no other"
                ));
                Ok(Exit::Done)
            }
            Self::List { tenant } => {
                let found = tenant_logins::list(&db, tenant).await?;
                if app.json {
                    output::json(&found)?;
                    return Ok(Exit::Done);
                }
                let rows = found
                    .into_iter()
                    .map(|one| {
                        vec![
                            one.login,
                            one.tenant_id.to_string(),
                            if one.writes_enrichment { "yes" } else { "no" }.to_owned(),
                            output::time(Some(one.created_at)),
                            one.created_by,
                            one.problem.unwrap_or_else(|| "-".to_owned()),
                        ]
                    })
                    .collect();
                let heads = ["login", "tenant", "writes enrichment", "bound", "by", "problem"];
                output::table(&heads, &[1], rows)?;
                Ok(Exit::Done)
            }
            Self::Remove { name } => {
                let is_dropped = tenant_logins::remove(&db, &app.actor(), &name).await?;
                output::note(if is_dropped {
                    format!("the login {name} is gone")
                } else {
                    format!(
                        "the login {name} has no rights here any more; it stays on the server, because this command has not made it, \
                         may not drop it, or it owns objects"
                    )
                });
                Ok(Exit::Done)
            }
        }
    }
}

/// The password of a new login: from a file, from stdin, or typed twice.
fn read_password(name: &str, file: Option<PathBuf>) -> anyhow::Result<SecretString> {
    let mut text = match file {
        Some(file) if file.as_os_str() == "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text
        }
        Some(file) => std::fs::read_to_string(&file)
            .map_err(|error| UsageError(format!("cannot read {}: {error}", file.display())))?,
        None if std::io::stdin().is_terminal() => {
            let first = rpassword::prompt_password(format!("Password of the new login {name}: "))?;
            if rpassword::prompt_password("The same again: ")? != first {
                return Err(UsageError("the two passwords differ".to_owned()).into());
            }
            first
        }
        None => {
            let text = format!(
                "there is no login {name} yet, and nobody to ask for its password: give --password-file FILE, or `-` for stdin"
            );
            return Err(UsageError(text).into());
        }
    };
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text.into())
}
