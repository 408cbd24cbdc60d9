//! Changes of contacts: new names, and merges.

use anyhow::{Context, Result};
use rand::RngExt;
use sqlx::{Connection, query, query_scalar};

use super::Changes;
use super::pick;
use crate::text::{long_person, odd_person, person};

pub async fn rename(changes: &mut Changes) -> Result<bool> {
    let Some(contact) = pick::contact(changes).await? else {
        return Ok(false);
    };
    let name = match changes.rng.random_range(0..10) {
        0 => odd_person(&mut changes.rng),
        1 => long_person(&mut changes.rng),
        _ => person(&mut changes.rng),
    };
    let done =
        query("UPDATE contacts SET name = $2, updated_at = $3 WHERE id = $1 AND name IS DISTINCT FROM $2")
            .bind(contact.id)
            .bind(name)
            .bind(changes.now)
            .execute(&mut changes.conn)
            .await
            .context("rename a contact")?;
    Ok(done.rows_affected() == 1)
}

/// Moves everything of one contact to another of the account. Messages get a new `updated_at`, as in Chatwoot; no timestamp
/// of the conversations changes.
pub async fn merge(changes: &mut Changes) -> Result<bool> {
    let Some(kept) = pick::contact(changes).await? else {
        return Ok(false);
    };
    let merged: Option<i32> =
        query_scalar("SELECT id FROM contacts WHERE account_id = $1 AND id > $2 ORDER BY id LIMIT 1")
            .bind(kept.account_id)
            .bind(kept.id)
            .fetch_optional(&mut changes.conn)
            .await
            .context("look for a contact to merge")?;
    let Some(merged) = merged else { return Ok(false) };

    let mut tx = changes.conn.begin().await.context("begin a merge")?;
    for statement in [
        "UPDATE conversations SET contact_id = $1 WHERE contact_id = $2",
        "UPDATE contact_inboxes SET contact_id = $1 WHERE contact_id = $2",
        "UPDATE csat_survey_responses SET contact_id = $1 WHERE contact_id = $2",
    ] {
        query(statement)
            .bind(i64::from(kept.id))
            .bind(i64::from(merged))
            .execute(&mut *tx)
            .await
            .context("merge a contact")?;
    }
    query("UPDATE messages SET sender_id = $1, updated_at = $3 WHERE sender_type = 'Contact' AND sender_id = $2")
        .bind(i64::from(kept.id))
        .bind(i64::from(merged))
        .bind(changes.now)
        .execute(&mut *tx)
        .await
        .context("merge a contact's messages")?;
    query("DELETE FROM contacts WHERE id = $1")
        .bind(merged)
        .execute(&mut *tx)
        .await
        .context("delete the merged contact")?;
    tx.commit().await.context("commit a merge")?;
    Ok(true)
}
