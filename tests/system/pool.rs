//! The pool for ledger and target.

use anyhow::ensure;
use tidemark_ledger::connect::pool;
use tidemark_net::url::ServerUrl;
use tidemark_postgres::connect::DatabasePooler;

use crate::stage::on_stage;

/// A new session takes several round trips, and costs the server more than most statements. The driver checks a connection after its
/// use in a task of its own, so each next statement would find none.
#[tokio::test(flavor = "multi_thread")]
async fn statements_and_transactions_one_after_the_other_share_a_session() {
    const POOLS: usize = 10;
    on_stage(|stage| async move {
        let url = ServerUrl::from(stage.url("target"));
        let mut sizes = Vec::new();
        for _ in 0..POOLS {
            let db = pool(&url, "test", 4, DatabasePooler::None).await?;
            for _ in 0..5 {
                sqlx::query("SELECT").execute(&db).await?;
                let mut tx = db.begin().await?;
                sqlx::query("SELECT").execute(&mut *tx).await?;
                tx.commit().await?;
            }
            sizes.push(db.connections().size());
            db.connections().close().await;
        }
        // a busy machine may take longer for the check than the pool waits
        let shared = sizes.iter().filter(|size| **size == 1).count();
        ensure!(shared >= POOLS / 2, "sessions of each pool: {sizes:?}");
        Ok(())
    })
    .await;
}
