//! Personal data: policies, contacts that are forgotten, and the rows that go with either.
//!
//! Loads and these transactions order themselves by the tenant's row: a change raises `mapping_version` under its lock, and
//! a load that was read before finds another version than its own and is rolled back.

use crate::stored::Stored;
use serde::Serialize;
use sqlx::postgres::PgTransaction;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use super::run::NewRun;
use super::{Attempt, DbResult, again, reject, run, statements, target};
use tidemark_postgres::DbPool;
use tidemark_shared::chunk::ChunkSpec;
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::privacy::{PersonalColumn, PrivacyPolicy, Treatment};
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::selection::Selection;

statements! {
    SET_POLICY = "UPDATE tenants SET privacy = $2, mapping_version = mapping_version + 1, \
                         policy_version = mapping_version + 1, updated_at = now() \
                  WHERE id = $1 AND deleted_at IS NULL AND privacy <> $2 RETURNING mapping_version";
    HAS_LIVE_ROWS = "SELECT EXISTS (SELECT FROM conversations_analytics WHERE tenant_id = $1 AND source_deleted_at IS NULL)";
    SATISFIED = "UPDATE etl_watermark SET policy_version = greatest(policy_version, $2) WHERE tenant_id = $1";
    RUN_SATISFIED = "UPDATE etl_watermark w SET policy_version = greatest(w.policy_version, r.mapping_version) \
                     FROM etl_control r \
                     WHERE r.id = $1 AND r.tenant_id = w.tenant_id AND r.mapping_version IS NOT NULL \
                       AND (r.type = 'full' OR (r.type = 'backfill' AND r.request #>> '{selection,kind}' = 'policy'))";
    IS_SATISFIED = "SELECT w.policy_version >= t.policy_version \
                    FROM tenants t JOIN etl_watermark w ON w.tenant_id = t.id WHERE t.id = $1";
    OPEN_REJECTS = "SELECT conversation_id FROM etl_rejected_row WHERE tenant_id = $1 AND resolved_at IS NULL";
    // nothing brings these rows again before their conversations can be read, so what would be hashed is left out too. A live
    // row has no digest then, and differs from every read
    STRIP = "UPDATE conversations_analytics a SET \
                 row_hash = CASE WHEN source_deleted_at IS NULL THEN decode(repeat('00', 16), 'hex') ELSE row_hash END, \
                 row_digest = NULL, \
                 etl_updated_at = CASE WHEN source_deleted_at IS NULL THEN now() ELSE etl_updated_at END, \
                 contact_name = CASE WHEN 'contact_name' = ANY($2) THEN NULL ELSE contact_name END, \
                 contact_email = CASE WHEN 'contact_email' = ANY($2) THEN NULL ELSE contact_email END, \
                 contact_phone = CASE WHEN 'contact_phone' = ANY($2) \
                                        OR ('client_phone' = ANY($2) AND contact_phone = client_phone) \
                                      THEN NULL ELSE contact_phone END, \
                 contact_identifier = CASE WHEN 'contact_identifier' = ANY($2) THEN NULL ELSE contact_identifier END, \
                 client_phone = CASE WHEN 'client_phone' = ANY($2) THEN NULL ELSE client_phone END, \
                 csat_feedback = CASE WHEN 'csat_feedback' = ANY($2) THEN NULL ELSE csat_feedback END, \
                 first_message_text = CASE WHEN 'message_text' = ANY($2) THEN NULL ELSE first_message_text END, \
                 last_message_text = CASE WHEN 'message_text' = ANY($2) THEN NULL ELSE last_message_text END, \
                 message_compiled = CASE WHEN 'message_text' = ANY($2) AND message_compiled IS NOT NULL \
                     THEN (SELECT jsonb_agg(m || '{\"text\": null}' ORDER BY n) \
                           FROM jsonb_array_elements(a.message_compiled) WITH ORDINALITY AS e (m, n)) \
                     ELSE message_compiled END \
             WHERE tenant_id = $1 AND CASE WHEN $3::bigint[] IS NULL THEN source_deleted_at IS NOT NULL \
                                           ELSE conversation_id = ANY($3) END";
    COUNT_OF = "SELECT count(*) FILTER (WHERE contact_id = $2) AS removed, \
                       count(*) FILTER (WHERE contact_id IS DISTINCT FROM $2) AS cleaned \
                FROM conversations_analytics WHERE tenant_id = $1 \
                  AND (contact_id = $2 OR client_sender_id = $2 \
                       OR message_compiled @> jsonb_build_array(jsonb_build_object('sender', 'Contact', 'sender_id', $2::bigint)))";
    FORGET = "INSERT INTO etl_forgotten_contact (tenant_id, contact_id, forgotten_by, reason) VALUES ($1, $2, $3, $4) \
              ON CONFLICT (tenant_id, contact_id) DO NOTHING";
    RAISE_VERSION = "UPDATE tenants SET mapping_version = mapping_version + 1, updated_at = now() \
                     WHERE id = $1 AND deleted_at IS NULL";
    REMOVE_ROWS = "WITH removed AS (DELETE FROM conversations_analytics WHERE tenant_id = $1 AND contact_id = $2 \
                                    RETURNING conversation_id, inbox_id, source_digest, source_deleted_at), \
                        withheld AS (INSERT INTO etl_withheld_conversation \
                                         (tenant_id, conversation_id, contact_id, inbox_id, source_digest) \
                                     SELECT $1, conversation_id, $2, coalesce(inbox_id, 0), source_digest FROM removed \
                                     WHERE source_deleted_at IS NULL ORDER BY conversation_id \
                                     ON CONFLICT (tenant_id, conversation_id) DO NOTHING), \
                        rejects AS (DELETE FROM etl_rejected_row j USING removed r \
                                    WHERE j.tenant_id = $1 AND j.conversation_id = r.conversation_id) \
                   SELECT count(*) FROM removed";
    // Until the resync the row has no hashes to go by. Where the client's phone had stood in for that of the conversation's contact it goes too
    CLEAN_OTHERS = "WITH theirs AS (SELECT jsonb_build_object('sender', 'Contact', 'sender_id', $2::bigint) AS message) \
                    UPDATE conversations_analytics a SET \
                        message_compiled = (SELECT jsonb_agg(CASE WHEN m @> t.message THEN m || '{\"text\": null}' ELSE m END \
                                                             ORDER BY n) \
                                            FROM jsonb_array_elements(a.message_compiled) WITH ORDINALITY AS e (m, n)), \
                        first_message_text = CASE WHEN (SELECT m FROM jsonb_array_elements(a.message_compiled) \
                                                                      WITH ORDINALITY AS e (m, n) \
                                                        WHERE m -> 'private' = 'false' ORDER BY n LIMIT 1) @> t.message \
                                                  THEN NULL ELSE a.first_message_text END, \
                        last_message_text = CASE WHEN (SELECT m FROM jsonb_array_elements(a.message_compiled) \
                                                                     WITH ORDINALITY AS e (m, n) \
                                                       WHERE m -> 'private' = 'false' ORDER BY n DESC LIMIT 1) @> t.message \
                                                 THEN NULL ELSE a.last_message_text END, \
                        contact_phone = CASE WHEN a.client_sender_id = $2 AND a.contact_phone = a.client_phone \
                                             THEN NULL ELSE a.contact_phone END, \
                        client_phone = CASE WHEN a.client_sender_id = $2 THEN NULL ELSE a.client_phone END, \
                        row_hash = decode(repeat('00', 16), 'hex'), row_digest = NULL, etl_updated_at = now() \
                    FROM theirs t \
                    WHERE a.tenant_id = $1 AND a.contact_id IS DISTINCT FROM $2 \
                      AND (a.client_sender_id = $2 OR a.message_compiled @> jsonb_build_array(t.message)) \
                    RETURNING a.conversation_id, a.source_deleted_at IS NULL";
    // unless it is from a newer read
    REMOVE_WITHHELD = "DELETE FROM conversations_analytics t WHERE t.tenant_id = $1 AND t.conversation_id = ANY($2) \
                       AND ($3, $4, -$5::integer, $6) \
                           >= (t.source_epoch, t.source_xmax, -t.source_in_progress, t.source_extracted_at) \
                       RETURNING t.conversation_id";
    DROP_WITHHELD = "DELETE FROM etl_withheld_conversation WHERE tenant_id = $1 \
                     AND (conversation_id = ANY($2) OR conversation_id BETWEEN $3 AND $4) \
                     AND NOT conversation_id = ANY($5) RETURNING conversation_id";
    PUT_WITHHELD = "INSERT INTO etl_withheld_conversation AS w \
                        (tenant_id, conversation_id, contact_id, inbox_id, source_digest) \
                    SELECT $1, n.conversation_id, n.contact_id, n.inbox_id, n.source_digest \
                    FROM unnest($2::bigint[], $3::bigint[], $4::integer[], $5::bigint[]) \
                             AS n (conversation_id, contact_id, inbox_id, source_digest) \
                    WHERE NOT EXISTS (SELECT FROM conversations_analytics a \
                                      WHERE a.tenant_id = $1 AND a.conversation_id = n.conversation_id) \
                    ORDER BY n.conversation_id \
                    ON CONFLICT (tenant_id, conversation_id) DO UPDATE \
                    SET contact_id = excluded.contact_id, inbox_id = excluded.inbox_id, \
                        source_digest = excluded.source_digest \
                    WHERE (w.contact_id, w.inbox_id, w.source_digest) \
                          IS DISTINCT FROM (excluded.contact_id, excluded.inbox_id, excluded.source_digest) \
                    RETURNING conversation_id";
}

/// A conversation of a forgotten contact, as the source has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Withheld {
    pub conversation_id: i64,
    pub contact_id: i64,
    pub inbox_id: i32,
    pub source_digest: i64,
}

/// Rows that a contact is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, FromRow)]
pub struct RowsOf {
    /// Those of its own conversations.
    pub removed: i64,
    /// Those of others' conversations in which it has written.
    pub cleaned: i64,
}

/// A policy is another one now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyChanged {
    /// The run that writes the tenant's rows anew; `None` when it has none yet.
    pub backfill: Option<RunId>,
}

/// Changes a tenant's policy, and asks for the backfill that writes its rows anew, in one transaction. Rows that are marked
/// deleted lose at once what the new policy does not keep. `asked` says who wants it; `None` when the policy is that one
/// already, or there is no such tenant.
///
/// # Errors
/// When the database does not answer.
pub async fn set_policy(
    db: &DbPool,
    tenant: TenantId,
    policy: &PrivacyPolicy,
    asked: &NewRun,
) -> DbResult<Option<PolicyChanged>> {
    again(async || {
        let mut tx = enter(db, tenant).await?;
        let version: Option<i64> = sqlx::query_scalar(SET_POLICY)
            .bind(Stored(tenant))
            .bind(Json(policy))
            .fetch_optional(&mut *tx)
            .await
            .attempt("change the tenant's policy")?;
        let Some(version) = version else {
            return tx
                .rollback()
                .await
                .map(|()| None)
                .attempt("change the tenant's policy");
        };
        strip(&mut tx, tenant, policy, None).await?;
        let rejected: Vec<i64> = sqlx::query_scalar(OPEN_REJECTS)
            .bind(Stored(tenant))
            .fetch_all(&mut *tx)
            .await
            .attempt("list the open rejects")?;
        strip(&mut tx, tenant, policy, Some(&rejected)).await?;
        // loads wait for the tenant's row, and those that were read before are rolled back: what is there now is all there is
        let has_rows: bool = sqlx::query_scalar(HAS_LIVE_ROWS)
            .bind(Stored(tenant))
            .fetch_one(&mut *tx)
            .await
            .attempt("look for rows")?;
        let backfill = if has_rows {
            ask(&mut tx, asked, RunType::Backfill, Selection::Policy { version }).await?
        } else {
            let satisfied = sqlx::query(SATISFIED).bind(Stored(tenant)).bind(version);
            execute(satisfied, &mut tx, "note that no row is of an earlier policy").await?;
            None
        };
        tx.commit().await.attempt("change the tenant's policy")?;
        Ok(Some(PolicyChanged { backfill }))
    })
    .await
}

/// Notes, when a run of everything has ended well, that all rows satisfy the policy of its plan: every chunk was read under
/// that policy or a later one.
///
/// # Errors
/// When the ledger does not answer.
pub async fn run_satisfied(tx: &mut PgTransaction<'_>, run: RunId) -> DbResult<()> {
    let satisfied = sqlx::query(RUN_SATISFIED).bind(Stored(run));
    execute(satisfied, tx, "note which policy the tenant's rows satisfy").await
}

/// Takes from the rows of rejected conversations what the policy does not keep, while rows may be of an earlier policy: a
/// row that cannot be read is not written anew.
///
/// # Errors
/// When the database does not answer.
pub async fn strip_rejected(
    tx: &mut PgConnection,
    tenant: TenantId,
    policy: &PrivacyPolicy,
    ids: &[i64],
) -> DbResult<()> {
    if ids.is_empty() || keeps_all(policy) {
        return Ok(());
    }
    let is_satisfied: bool = sqlx::query_scalar(IS_SATISFIED)
        .bind(Stored(tenant))
        .fetch_one(&mut *tx)
        .await
        .attempt("look which policy the tenant's rows satisfy")?;
    if is_satisfied {
        return Ok(());
    }
    strip(tx, tenant, policy, Some(ids)).await
}

fn keeps_all(policy: &PrivacyPolicy) -> bool {
    PersonalColumn::ALL
        .into_iter()
        .all(|personal| policy.of(personal) == Treatment::Keep)
}

/// Takes from rows what the policy does not keep: from those of these conversations, or from all that are marked deleted.
///
/// # Errors
/// When the database does not answer.
pub async fn strip(
    tx: &mut PgConnection,
    tenant: TenantId,
    policy: &PrivacyPolicy,
    ids: Option<&[i64]>,
) -> DbResult<()> {
    let columns: Vec<&str> = PersonalColumn::ALL
        .into_iter()
        .filter(|personal| policy.of(*personal) != Treatment::Keep)
        .map(PersonalColumn::as_str)
        .collect();
    if columns.is_empty() || ids.is_some_and(<[i64]>::is_empty) {
        return Ok(());
    }
    sqlx::query(STRIP)
        .bind(Stored(tenant))
        .bind(columns)
        .bind(ids)
        .execute(tx)
        .await
        .map(drop)
        .attempt("take personal data from rows that nothing writes anew")
}

/// How many rows a contact is in.
///
/// # Errors
/// When the database does not answer.
pub async fn count_of(db: &DbPool, tenant: TenantId, contact: i64) -> DbResult<RowsOf> {
    let mut tx = enter(db, tenant).await?;
    let rows = sqlx::query_as(COUNT_OF)
        .bind(Stored(tenant))
        .bind(contact)
        .fetch_one(&mut *tx)
        .await
        .attempt("count the contact's rows")?;
    tx.rollback().await.attempt("count the contact's rows")?;
    Ok(rows)
}

/// Removes a contact's conversations, takes its texts and phone number out of those of others, and notes that it stays out.
/// The same again does what was left. From the first of its two transactions on no load brings anything of it; the second
/// asks for a resync of the rows that it has cleaned. `asked` says who wants it, and why.
///
/// # Errors
/// When the database does not answer.
pub async fn forget(db: &DbPool, tenant: TenantId, contact: i64, asked: &NewRun) -> DbResult<RowsOf> {
    let removed = again(async || {
        let mut tx = enter(db, tenant).await?;
        execute(
            sqlx::query(RAISE_VERSION).bind(Stored(tenant)),
            &mut tx,
            "lock the tenant",
        )
        .await?;
        let forget = sqlx::query(FORGET)
            .bind(Stored(tenant))
            .bind(contact)
            .bind(&asked.triggered_by)
            .bind(&asked.reason);
        execute(forget, &mut tx, "forget the contact").await?;
        let removed: i64 = sqlx::query_scalar(REMOVE_ROWS)
            .bind(Stored(tenant))
            .bind(contact)
            .fetch_one(&mut *tx)
            .await
            .attempt("remove the contact's rows")?;
        tx.commit().await.attempt("forget the contact")?;
        Ok(removed)
    })
    .await?;
    let cleaned = again(async || {
        let mut tx = enter(db, tenant).await?;
        let cleaned: Vec<(i64, bool)> = sqlx::query_as(CLEAN_OTHERS)
            .bind(Stored(tenant))
            .bind(contact)
            .fetch_all(&mut *tx)
            .await
            .attempt("take the contact out of others' conversations")?;
        let mut live: Vec<i64> = cleaned.iter().filter(|row| row.1).map(|row| row.0).collect();
        live.sort_unstable();
        if !live.is_empty() {
            ask(&mut tx, asked, RunType::Resync, Selection::Ids { ids: live }).await?;
        }
        tx.commit()
            .await
            .attempt("take the contact out of others' conversations")?;
        Ok(i64::try_from(cleaned.len()).expect("rows of a tenant fit in 63 bits"))
    })
    .await?;
    Ok(RowsOf { removed, cleaned })
}

/// Notes which conversations a chunk has found to be of forgotten contacts, and that the others among its keys are not;
/// removes their rows, unless those are from a newer read. Returns the conversations that this changes anything for.
///
/// # Errors
/// When the database does not answer.
pub async fn withhold(
    tx: &mut PgConnection,
    tenant: TenantId,
    spec: &ChunkSpec,
    withheld: &[Withheld],
    version: &SourceVersion,
) -> DbResult<WithheldRows> {
    let ids: Vec<i64> = withheld.iter().map(|one| one.conversation_id).collect();
    let (keys, lo, hi) = reject::keys(spec);
    let removed: Vec<i64> = sqlx::query_scalar(REMOVE_WITHHELD)
        .bind(Stored(tenant))
        .bind(&ids)
        .bind(version.epoch)
        .bind(version.snapshot.xmax)
        .bind(version.snapshot.in_progress)
        .bind(version.snapshot.clock)
        .fetch_all(&mut *tx)
        .await
        .attempt("remove rows of forgotten contacts")?;
    let mut changed: Vec<i64> = sqlx::query_scalar(DROP_WITHHELD)
        .bind(Stored(tenant))
        .bind(keys)
        .bind(lo)
        .bind(hi)
        .bind(&ids)
        .fetch_all(&mut *tx)
        .await
        .attempt("note which conversations are not withheld")?;
    let put: Vec<i64> = sqlx::query_scalar(PUT_WITHHELD)
        .bind(Stored(tenant))
        .bind(&ids)
        .bind(withheld.iter().map(|one| one.contact_id).collect::<Vec<_>>())
        .bind(withheld.iter().map(|one| one.inbox_id).collect::<Vec<_>>())
        .bind(withheld.iter().map(|one| one.source_digest).collect::<Vec<_>>())
        .fetch_all(tx)
        .await
        .attempt("note which conversations are withheld")?;
    changed.extend(put);
    Ok(WithheldRows { removed, changed })
}

/// Conversations of forgotten contacts for which a load has changed something.
#[derive(Debug, Default)]
pub struct WithheldRows {
    /// Their rows were there.
    pub removed: Vec<i64>,
    /// They are withheld now, no longer, or as another version.
    pub changed: Vec<i64>,
}

async fn enter(db: &DbPool, tenant: TenantId) -> DbResult<PgTransaction<'static>> {
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    target::enter(&mut tx, tenant).await?;
    Ok(tx)
}

async fn execute(
    query: sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments>,
    tx: &mut PgTransaction<'_>,
    attempted: &'static str,
) -> DbResult<()> {
    query.execute(&mut **tx).await.map(drop).attempt(attempted)
}

async fn ask(
    tx: &mut PgTransaction<'_>,
    asked: &NewRun,
    run_type: RunType,
    selection: Selection,
) -> DbResult<Option<RunId>> {
    let run = NewRun {
        run_type,
        request: RunRequest {
            selection: Some(selection),
            ..RunRequest::default()
        },
        ..asked.clone()
    };
    run::insert_requested(&mut **tx, &run).await
}
