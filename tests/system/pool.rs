//! The pool for ledger and target.

use std::time::Duration;

use anyhow::ensure;
use tidemark_ledger::connect::pool;
use tidemark_net::url::ServerUrl;
use tidemark_postgres::connect::DatabasePooler;

use crate::proxy::Proxy;
use crate::stage::on_stage;

/// The driver checks a connection after its use in a task of its own, so each next statement would find none and open a session.
/// On one thread, as every other test: how soon a second thread takes that task is the machine's affair.
#[tokio::test]
async fn statements_and_transactions_one_after_the_other_share_a_session() {
    on_stage(|stage| async move {
        // far enough for the machine's load to mean nothing
        let proxy = Proxy::before(&stage.url("target")).await?;
        proxy.delay(Duration::from_millis(50));
        let url = ServerUrl::from(proxy.url(&stage.url("target"))?);
        let db = pool(&url, "test", 4, DatabasePooler::None).await?;
        for _ in 0..3 {
            sqlx::query("SELECT").execute(&db).await?;
            let mut tx = db.begin().await?;
            sqlx::query("SELECT").execute(&mut *tx).await?;
            tx.commit().await?;
        }
        let sessions = db.connections().size();
        ensure!(sessions == 1, "{sessions} sessions");
        Ok(())
    })
    .await;
}

/// A machine that is busy may take longer for a session than the check waits for the pool, so it has several tries.
#[tokio::test]
async fn the_session_that_was_checked_at_the_start_is_the_first_of_the_pool() {
    const TRIES: u32 = 20;
    on_stage(|stage| async move {
        let url = ServerUrl::from(stage.url("target"));
        let mut tries = 0;
        let db = loop {
            let db = pool(&url, "test", 4, DatabasePooler::None).await?;
            if db.connections().size() == 1 {
                break db;
            }
            tries += 1;
            ensure!(tries < TRIES, "no pool has its first session");
        };
        let mut sessions = [db.acquire().await?, db.acquire().await?];
        ensure!(db.connections().size() == 2, "the first session was not used");
        for session in &mut sessions {
            let (role, path): (String, String) =
                sqlx::query_as("SELECT current_user::text, current_setting('search_path')")
                    .fetch_one(&mut **session)
                    .await?;
            ensure!(
                role == "etl_service" && path.ends_with("pg_temp"),
                "{role}, {path}"
            );
        }
        Ok(())
    })
    .await;
}
