//! How far behind a tenant was: a quiet one was not, and a gap is seen.

use anyhow::ensure;
use sqlx::Executor;

use super::client::{Client, serve};
use crate::stage::on_stage;

#[tokio::test]
async fn a_quiet_tenant_is_not_drawn_as_behind_and_a_gap_is() {
    on_stage(|stage| async move {
        stage.sample(20, 1, 5).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let often = stage.tidemark(&["tenant", "set", "--tenant", "1", "--sync-interval", "1s"]).await?;
        ensure!(often.code == 0, "{often:?}");
        let fleet = stage.start(&["up"])?;
        let quiet = "SELECT max(moved_at) > max(began_at) + interval '1 second' AND count(*) = 1 \
                     FROM etl_watermark_audit WHERE actor = 'scheduler'";
        stage.until(quiet).await?;
        fleet.stop().await?;
        // as if all of it were three hours ago, and the quiet time had lasted for four hours before that
        stage
            .target
            .execute(
                "UPDATE etl_watermark_audit SET began_at = began_at - interval '7 hours', moved_at = moved_at - interval '3 hours', \
                        old = old - interval '7 hours', new = new - interval '3 hours'; \
                 UPDATE etl_watermark SET watermark = watermark - interval '3 hours'",
            )
            .await?;
        let served = serve(&stage, "console", &[]).await?;
        let client = Client::new(&served.address);
        let page = client.get("/tenants/1").await?;
        ensure!(page.body.contains("at most 3 h"), "behind for the three hours without a move: {page:?}");
        let list = client.get("/tenants").await?;
        ensure!(list.body.contains("at most 3 h") && list.body.contains("class=\"spark\""), "{list:?}");

        // after the gap the moves have a line of their own, and the gap stays
        let fleet = stage.start(&["up"])?;
        stage
            .until("SELECT count(*) = 2 AND max(new) > now() - interval '1 minute' FROM etl_watermark_audit WHERE actor = 'scheduler'")
            .await?;
        let page = client.get("/tenants/1").await?;
        ensure!(page.body.contains("at most 3 h"), "the gap is drawn: {page:?}");
        fleet.stop().await?;
        served.process.stop().await
    })
    .await;
}
