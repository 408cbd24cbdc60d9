//! Forgetting a contact.

use serde::Serialize;
use serde_json::json;
use sqlx::FromRow;
use tidemark_postgres::DbPool;
use tidemark_shared::audit::{Action, Actor};
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::RunType;
use tidemark_shared::selection::Selection;

use super::removal::{RemovedRow, removals, updates};
use crate::audit::{self, Entry};
use crate::run::{NewRun, Requested, insert_requested, record_request};
use crate::stored::Stored;
use crate::target::begin_write;
use crate::{Attempt, DbResult, change, execute, retry_on_deadlock, statements};

statements! {
    COUNT_CONTACT_ROWS = "SELECT count(*) FILTER (WHERE contact_id = $2) AS removed, \
                                 count(*) FILTER (WHERE contact_id IS DISTINCT FROM $2) AS cleaned \
                          FROM conversations_analytics WHERE tenant_id = $1 \
                            AND (contact_id = $2 OR client_sender_id = $2 \
                                 OR message_compiled @> jsonb_build_array(jsonb_build_object('sender', 'Contact', 'sender_id', $2::bigint)))";
    FORGET = "INSERT INTO etl_forgotten_contact (tenant_id, contact_id, forgotten_by, reason) VALUES ($1, $2, $3, $4) \
              ON CONFLICT (tenant_id, contact_id) DO NOTHING";
    RAISE_VERSION = "UPDATE tenants SET mapping_version = mapping_version + 1, updated_at = now() \
                     WHERE id = $1 AND deleted_at IS NULL";
    REMOVE_ROWS = include_str!("remove_rows.sql");
    CLEAN_OTHERS = include_str!("clean_others.sql");
}

/// Rows that contain data of a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, FromRow)]
pub struct ContactRows {
    /// Rows of the contact's own conversations.
    pub removed: i64,
    /// Rows of other contacts' conversations in which the contact has written.
    pub cleaned: i64,
}

/// Counts the rows that contain data of a contact.
pub async fn count_contact_rows(db: &DbPool, tenant: TenantId, contact: i64) -> DbResult<ContactRows> {
    let mut tx = begin_write(db, tenant).await?;
    let rows = sqlx::query_as(COUNT_CONTACT_ROWS)
        .bind(Stored(tenant))
        .bind(contact)
        .fetch_one(&mut *tx)
        .await
        .attempt("count the contact's rows")?;
    tx.rollback().await.attempt("count the contact's rows")?;
    Ok(rows)
}

/// Deletes a contact's conversations, clears its texts and phone number in other conversations, and records that it is
/// forgotten. A second call finishes an interrupted one. After the first of its two transactions no load writes data of
/// the contact. The second transaction requests a resync of the rows that it has cleaned. `request` says why. Each
/// transaction has its entry in the audit.
pub async fn forget(
    db: &DbPool,
    actor: &Actor,
    tenant: TenantId,
    contact: i64,
    request: &NewRun,
) -> DbResult<ContactRows> {
    let entry = &|| {
        Entry::new(Action::ContactForget)
            .tenant(tenant)
            .subject(format!("contact {contact}"))
            .reason(request.reason.as_deref())
    };
    let removed = retry_on_deadlock(|| async move {
        let mut tx = begin_write(db, tenant).await?;
        execute(
            sqlx::query(RAISE_VERSION).bind(Stored(tenant)),
            &mut tx,
            "lock the tenant",
        )
        .await?;
        let forget = sqlx::query(FORGET)
            .bind(Stored(tenant))
            .bind(contact)
            .bind(actor.as_str())
            .bind(&request.reason);
        execute(forget, &mut tx, "forget the contact").await?;
        let removed: Vec<RemovedRow> = sqlx::query_as(REMOVE_ROWS)
            .bind(Stored(tenant))
            .bind(contact)
            .fetch_all(&mut *tx)
            .await
            .attempt("remove the contact's rows")?;
        change::record(&mut tx, tenant, &removals(&removed)).await?;
        let removed = count(removed.len());
        let removal = entry().after(json!({"removed": removed}));
        audit::record(&mut *tx, actor, &removal).await?;
        tx.commit().await.attempt("forget the contact")?;
        Ok(removed)
    })
    .await?;
    let cleaned = retry_on_deadlock(|| async move {
        let mut tx = begin_write(db, tenant).await?;
        let cleaned: Vec<RemovedRow> = sqlx::query_as(CLEAN_OTHERS)
            .bind(Stored(tenant))
            .bind(contact)
            .fetch_all(&mut *tx)
            .await
            .attempt("clear the contact's data in other conversations")?;
        change::record(&mut tx, tenant, &updates(&cleaned)).await?;
        let mut live: Vec<i64> = cleaned.iter().filter(|row| row.2).map(|row| row.0).collect();
        live.sort_unstable();
        if !live.is_empty() {
            let run = request.with_selection(RunType::Resync, Selection::Ids { ids: live });
            if let Some(id) = insert_requested(&mut *tx, &run).await? {
                record_request(&mut tx, actor, &run, Requested::Created(id)).await?;
            }
        }
        if !cleaned.is_empty() {
            let cleaning = entry().after(json!({"cleaned": cleaned.len()}));
            audit::record(&mut *tx, actor, &cleaning).await?;
        }
        tx.commit()
            .await
            .attempt("clear the contact's data in other conversations")?;
        Ok(count(cleaned.len()))
    })
    .await?;
    Ok(ContactRows { removed, cleaned })
}

fn count(rows: usize) -> i64 {
    i64::try_from(rows).expect("rows of a tenant fit in 63 bits")
}
