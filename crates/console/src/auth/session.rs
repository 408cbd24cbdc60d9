//! Sessions: a random id in a cookie, its hash in the ledger. They end 12 hours after the last request, and after 7 days.

use std::time::Duration;

use axum::http::HeaderMap;
use tidemark_ledger as ledger;
use tidemark_ledger::DbResult;
use tidemark_postgres::report::report;
use tidemark_runtime::pulse;

use super::secret;
use super::who::{Kind, Who};
use crate::console::Console;
use crate::preferences;

/// With the prefix a browser takes it only over TLS, for this host and the path `/`.
const SECURE_NAME: &str = "__Host-tidemark";
const PLAIN_NAME: &str = "tm_session";

const PRUNE_EVERY: Duration = Duration::from_secs(3600);
const TURN_EVERY: Duration = Duration::from_secs(30);

impl Console {
    fn cookie_name(&self) -> &'static str {
        if self.settings.console.insecure_cookie {
            PLAIN_NAME
        } else {
            SECURE_NAME
        }
    }

    fn cookie(&self, value: &str, seconds: u32) -> String {
        let (name, secure) = match self.settings.console.insecure_cookie {
            true => (PLAIN_NAME, ""),
            false => (SECURE_NAME, "; Secure"),
        };
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
    }
}

/// The id of the session of a request.
pub fn id_of<'a>(console: &Console, headers: &'a HeaderMap) -> Option<&'a str> {
    preferences::cookie(headers, console.cookie_name())
}

/// Begins a session with a new id. Returns its cookie.
pub async fn begin(
    console: &Console,
    user: &str,
    peer: Option<&str>,
    agent: Option<&str>,
) -> DbResult<String> {
    const WEEK: u32 = 7 * 86_400;
    let id = secret::random();
    let agent = agent.map(|agent| agent.chars().take(200).collect::<String>());
    ledger::console::session::insert(&console.db, &secret::hash(&id), user, peer, agent.as_deref()).await?;
    Ok(console.cookie(&id, WEEK))
}

/// The user of a session that has not ended.
pub async fn find(console: &Console, id: &str) -> DbResult<Option<Who>> {
    let hash = secret::hash(id);
    let Some(user) = ledger::console::session::find_user(&console.db, &hash).await? else {
        return Ok(None);
    };
    if !console.settings.console.read_only {
        ledger::console::session::touch(&console.db, &hash).await?;
    }
    Ok(Who::of_user(user, Kind::Session))
}

/// Ends the session. Returns the cookie that removes it from the browser.
pub async fn end(console: &Console, id: &str) -> DbResult<String> {
    ledger::console::session::remove(&console.db, &secret::hash(id)).await?;
    Ok(console.cookie("", 0))
}

/// Removes sessions that have ended and old answers of the API, every hour until the soft stop.
pub async fn prune_regularly(console: &Console) {
    let mut waited = PRUNE_EVERY;
    loop {
        pulse::beat();
        if waited >= PRUNE_EVERY {
            waited = Duration::ZERO;
            for outcome in [
                ledger::console::session::prune(&console.db).await,
                ledger::console::request::prune(&console.db).await,
            ] {
                if let Err(error) = outcome {
                    tracing::debug!(error = %report(&error), "ended sessions not removed");
                }
            }
        }
        tokio::select! {
            () = console.lifecycle.soft().cancelled() => return,
            () = tokio::time::sleep(TURN_EVERY) => waited += TURN_EVERY,
        }
    }
}
