//! Upgrades a sample in place to a newer version of Chatwoot, as Chatwoot's migrations do: table by table, with the
//! installation running.

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use sqlx::{PgConnection, query};
use tidemark_shared::chatwoot::{self, Version};

use crate::database::{Target, is_deadlock};
use crate::schema::{change_table, create_indexes, create_view};
use crate::shape::{Shape, ensure_known};

/// Values for new columns: those of Chatwoot's own migrations, and a few that users would have set since. No row gets a
/// new `updated_at`, so that only comparing finds them.
const FILLS: [(&str, &str, &str); 13] = [
    (
        "conversations",
        "first_reply_created_at",
        "UPDATE conversations c SET first_reply_created_at = (SELECT min(m.created_at) FROM messages m \
         WHERE m.conversation_id = c.id AND m.message_type = 1 AND m.sender_type = 'User' AND NOT m.private) \
         WHERE id % 4 > 0",
    ),
    (
        "conversations",
        "priority",
        "UPDATE conversations SET priority = id % 4 WHERE id % 5 < 2",
    ),
    (
        "conversations",
        "waiting_since",
        "UPDATE conversations SET waiting_since = last_activity_at WHERE status = 0",
    ),
    (
        "conversations",
        "cached_label_list",
        "UPDATE conversations SET cached_label_list = 'vip, since ' || id % 7 WHERE id % 3 = 0",
    ),
    (
        "conversations",
        "assignee_agent_bot_id",
        "UPDATE conversations SET assignee_agent_bot_id = account_id WHERE assignee_id IS NULL AND id % 3 = 0",
    ),
    (
        "captain_assistants",
        "id",
        "INSERT INTO captain_assistants (name, account_id, created_at, updated_at) \
         SELECT 'Captain ' || name, id, created_at, updated_at FROM accounts ORDER BY id",
    ),
    (
        "sla_policies",
        "id",
        "INSERT INTO sla_policies (name, account_id, created_at, updated_at) \
         SELECT 'Padrão', id, created_at, updated_at FROM accounts ORDER BY id",
    ),
    (
        "conversations",
        "sla_policy_id",
        "UPDATE conversations SET sla_policy_id = account_id WHERE id % 4 = 1",
    ),
    (
        "applied_slas",
        "id",
        "INSERT INTO applied_slas (account_id, sla_policy_id, conversation_id, created_at, updated_at, sla_status) \
         SELECT account_id, sla_policy_id, id, created_at, last_activity_at, id / 4 % 4 FROM conversations \
         WHERE sla_policy_id IS NOT NULL ORDER BY id",
    ),
    (
        "conversation_participants",
        "id",
        "INSERT INTO conversation_participants (account_id, user_id, conversation_id, created_at, updated_at) \
         SELECT account_id, assignee_id, id, created_at, created_at FROM conversations \
         WHERE assignee_id IS NOT NULL AND id % 3 = 0 ORDER BY id",
    ),
    (
        "messages",
        "sentiment",
        "UPDATE messages SET sentiment = '{\"label\":\"positive\",\"score\":0.75}' WHERE id % 12 = 0",
    ),
    (
        "contacts",
        "country_code",
        "UPDATE contacts SET country_code = 'BR' WHERE id % 2 = 0",
    ),
    (
        "csat_survey_responses",
        "csat_review_notes",
        "UPDATE csat_survey_responses SET csat_review_notes = 'called back' WHERE id % 3 = 0",
    ),
];

/// The way that a sample went. Every version at which columns changed is a step.
#[derive(Debug, Clone, Serialize)]
pub struct UpgradeReport {
    pub from: Version,
    pub to: Version,
    pub steps: Vec<Version>,
}

/// Upgrades the sample to a newer version. A failed upgrade goes on from its last step when it is called again.
///
/// # Errors
/// When the database is not marked as a sample, does not say its version, has that version or a newer one already, or when
/// the version is not known.
pub async fn upgrade(url: &str, to: Version) -> Result<UpgradeReport> {
    ensure_known(to)?;
    let target = Target::parse(url)?;
    let mut conn = target.connect_to_sample().await?;
    let Some(from) = target.version(&mut conn).await? else {
        bail!(
            "database {} does not say its version of Chatwoot: create the sample anew",
            target.name
        );
    };
    ensure!(
        from < to,
        "database {} has Chatwoot {from}: it can only be upgraded to a newer version",
        target.name
    );
    let mut steps: Vec<Version> = chatwoot::changes()
        .into_iter()
        .filter(|version| from < *version && *version <= to)
        .collect();
    if steps.last() != Some(&to) {
        steps.push(to);
    }
    let mut at = from;
    for &version in &steps {
        step(&mut conn, at, version)
            .await
            .with_context(|| format!("upgrade from Chatwoot {at} to {version}"))?;
        target.mark(&mut conn, Some(version)).await?;
        tracing::info!(%version, "sample upgraded");
        at = version;
    }
    Ok(UpgradeReport { from, to, steps })
}

async fn step(conn: &mut PgConnection, from: Version, to: Version) -> Result<()> {
    let (before, after) = (Shape::of(from), Shape::of(to));
    let changes = before.changes_to(&after);
    if changes.is_empty() {
        return Ok(());
    }
    for change in changes {
        again_after_deadlocks(async || change_table(conn, &change, Some(&before)).await).await?;
    }
    let old = before.indexes();
    for index in after.indexes().into_iter().filter(|index| !old.contains(index)) {
        again_after_deadlocks(async || create_indexes(conn, &[index]).await).await?;
    }
    for (table, column, fill) in FILLS {
        if after.has(table, column) && !before.has(table, column) {
            again_after_deadlocks(async || {
                query(fill)
                    .execute(&mut *conn)
                    .await
                    .with_context(|| format!("fill {table}.{column}"))?;
                Ok(())
            })
            .await?;
        }
    }
    again_after_deadlocks(async || create_view(conn, &after).await).await
}

/// Traffic locks rows in another order.
async fn again_after_deadlocks(mut change: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    loop {
        match change().await {
            Err(error) if is_deadlock(&error) => tracing::debug!("deadlock with traffic"),
            ended => return ended,
        }
    }
}
