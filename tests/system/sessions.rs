//! Asserted in every test: sessions on the source stay within the limit, and none is left idle in a transaction.

use std::future::Future;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sqlx::PgConnection;
use tidemark_runtime::config::SourceSettings;
use tokio::process::Child;
use tokio::time::Instant;

/// Pause between two checks.
const PAUSE: Duration = Duration::from_millis(100);
/// The server needs a moment to notice that a process is gone.
const LINGERS: Duration = Duration::from_secs(3);

const SESSIONS: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'tidemark %'";
const LEFT_OPEN: &str = "SELECT array_agg(application_name) FROM pg_stat_activity \
     WHERE datname = $1 AND application_name LIKE 'tidemark %' AND state LIKE 'idle in transaction%'";

/// The processes that a test has started, each with the time when it was found to have ended.
#[derive(Debug, Default)]
pub struct SourceSessions(Mutex<Vec<(u32, Option<Instant>)>>);

impl SourceSessions {
    /// Counts a process that has just been started.
    pub fn register(&self, child: Child) -> Child {
        if let Some(pid) = child.id() {
            self.0
                .lock()
                .expect("nothing panics while it holds the lock")
                .push((pid, None));
        }
        child
    }

    fn sessions_allowed(&self) -> i64 {
        let mut processes = self.0.lock().expect("nothing panics while it holds the lock");
        for (pid, ended) in processes.iter_mut().filter(|(_, ended)| ended.is_none()) {
            if !Path::new(&format!("/proc/{pid}")).exists() {
                *ended = Some(Instant::now());
            }
        }
        processes.retain(|(_, ended)| ended.is_none_or(|ended| ended.elapsed() < LINGERS));
        let each = i64::from(SourceSettings::default().max_connections);
        i64::try_from(processes.len()).expect("a small number") * each
    }

    /// Runs a test, and checks the source's sessions meanwhile.
    pub async fn watch(
        &self,
        mut admin: PgConnection,
        source: &str,
        test: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        tokio::select! {
            outcome = test => outcome?,
            exceeded = self.look(&mut admin, source) => exceeded?,
        }
        let mut open = Vec::new();
        let closed = async {
            loop {
                let left: Option<Vec<String>> = sqlx::query_scalar(LEFT_OPEN)
                    .bind(source)
                    .fetch_one(&mut admin)
                    .await?;
                match left {
                    None => return Ok::<_, anyhow::Error>(()),
                    Some(left) => open = left,
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let outcome = tokio::time::timeout(LINGERS, closed).await;
        outcome.with_context(|| format!("left idle in a transaction on the source: {open:?}"))?
    }

    /// Returns only when there are more sessions than allowed.
    async fn look(&self, admin: &mut PgConnection, source: &str) -> Result<()> {
        loop {
            // a process may start or end between the two counts: the higher one is the limit
            let before = self.sessions_allowed();
            let sessions: i64 = sqlx::query_scalar(SESSIONS)
                .bind(source)
                .fetch_one(&mut *admin)
                .await?;
            let allowed = self.sessions_allowed().max(before);
            // commands that read no source have no sessions, and sessions of ended processes do not count
            ensure!(
                allowed == 0 || sessions <= allowed,
                "{sessions} sessions on the source, {allowed} are allowed"
            );
            tokio::time::sleep(PAUSE).await;
        }
    }
}
