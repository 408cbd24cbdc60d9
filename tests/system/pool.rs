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
