//! Views that lack columns, have unusable ones, or show conversations that cannot be taken.

use anyhow::ensure;
use sqlx::Executor;

use super::{assert_verified, create_view, sync, sync_view};
use crate::stage::on_stage;

#[tokio::test]
async fn a_missing_optional_column_is_null_and_warned_of() {
    on_stage(|stage| async move {
        stage.sample(100, 1, 5).await?;
        let columns = [("priority", ""), ("csat_response_id", ""), ("last_activity_at", ""), ("client_sender_id", "")];
        create_view(&stage, "narrow", &columns).await?;
        sync_view(&stage, "narrow", &[]).await?;
        stage
            .until(
                "SELECT count(*) > 0 AND count(priority) = 0 AND count(csat_response_id) = 0 \
                    AND count(last_activity_at) = 0 AND count(csat_rating) = count(*) FILTER (WHERE has_csat) \
                    AND count(csat_rating) > 0 AND count(status) = count(*) FROM conversations_analytics",
            )
            .await?;
        let warnings: Vec<String> = sqlx::query_scalar("SELECT jsonb_array_elements_text(warnings) FROM etl_control")
            .fetch_all(&stage.target)
            .await?;
        ensure!(warnings.len() == columns.len(), "{warnings:?}");
        for (column, _) in columns {
            ensure!(
                warnings.iter().any(|warning| warning.contains(&format!("no column {column}:"))),
                "{warnings:?}"
            );
        }
        assert_verified(&stage, "narrow", &[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_view_that_cannot_be_read_right_is_refused_and_named_before_anything_is_written() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 5).await?;
        create_view(&stage, "blind", &[("message_compiled", ""), ("inbox_id", "")]).await?;
        create_view(
            &stage,
            "odd",
            &[("status", "o.status::text"), ("snoozed_until", "now()::date")],
        )
        .await?;
        for (view, texts) in [
            ("blind", ["column message_compiled", "column inbox_id"]),
            (
                "odd",
                [
                    "column status as integer (it is text)",
                    "column snoozed_until as timestamp (it is date)",
                ],
            ),
            ("absent", ["view \"absent\"", "lacks tables, columns or rights"]),
        ] {
            let refused = sync(&stage, view, &["--all"]).await?;
            ensure!(refused.code == 78, "{refused:?}");
            for text in texts {
                ensure!(refused.stderr.contains(text), "{text} not in {refused:?}");
            }
        }
        stage
            .until("SELECT count(*) = 0 FROM conversations_analytics")
            .await
    })
    .await;
}

#[tokio::test]
async fn conversations_that_cannot_be_taken_are_rejected_alone() {
    on_stage(|stage| async move {
        stage.sample(120, 1, 5).await?;
        let columns = [
            ("message_compiled", "CASE o.conversation_id WHEN 7 THEN '{\"no\": \"array\"}' ELSE o.message_compiled END"),
            ("conversation_updated_at", "nullif(o.conversation_updated_at, (SELECT updated_at FROM conversations WHERE id = 8))"),
        ];
        create_view(&stage, "spoilt", &columns).await?;
        let answer = sync(&stage, "spoilt", &["--all"]).await?;
        ensure!(answer.code == 2, "{answer:?}");
        stage
            .until(
                "SELECT (SELECT array_agg(conversation_id ORDER BY conversation_id) FROM etl_rejected_row) = '{7,8}' \
                    AND (SELECT count(*) FROM conversations_analytics) > 100",
            )
            .await
    })
    .await;
}

/// Trap 8.
#[tokio::test]
async fn a_conversation_of_which_the_view_cannot_show_a_column_is_rejected_alone() {
    // one that plans compare by conversation, and a name, which they compare for all conversations at once
    for column in ["cached_label_list", "team_name"] {
        on_stage(|stage| async move {
            stage.sample(120, 1, 5).await?;
            let fails = format!(
                "CASE WHEN o.cached_label_list = 'poison' THEN (1 / (o.inbox_id - o.inbox_id))::text ELSE o.{column} END"
            );
            create_view(&stage, "failing", &[(column, &fails)]).await?;
            sync_view(&stage, "failing", &[]).await?;
            stage
                .source
                .execute(
                    "UPDATE conversations SET cached_label_list = 'poison', team_id = (SELECT min(id) FROM teams) WHERE id = 7; \
                     UPDATE conversations SET priority = (coalesce(priority, 0) + 1) % 4 WHERE id = 8",
                )
                .await?;
            for (args, updated) in [(["--all"].as_slice(), 1), (&["--all"], 0), (&["--all", "--full"], 0)] {
                let answer = sync(&stage, "failing", args).await?;
                ensure!(answer.code == 2, "{answer:?}");
                let records = &answer.json()[0]["records"];
                ensure!(
                    records["rejected"] == 1 && records["updated"] == updated && records["deleted"] == 0,
                    "{args:?}: {records}"
                );
            }
            stage
                .source
                .execute("UPDATE conversations SET cached_label_list = NULL WHERE id = 7")
                .await?;
            sync_view(&stage, "failing", &[]).await?;
            assert_verified(&stage, "failing", &[1]).await
        })
        .await;
    }
}
