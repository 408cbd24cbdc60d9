//! Personal data taken from rows that no load writes again.

use sqlx::PgConnection;
use tidemark_shared::ids::TenantId;
use tidemark_shared::privacy::{Personal, PrivacyPolicy, Treatment};

use crate::stored::Stored;
use crate::{Attempt, DbResult, statements};

statements! {
    IS_SATISFIED = "SELECT w.policy_version >= t.policy_version \
                    FROM tenants t JOIN etl_watermark w ON w.tenant_id = t.id WHERE t.id = $1";
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
    Personal::ALL
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
    let columns: Vec<&str> = Personal::ALL
        .into_iter()
        .filter(|personal| policy.of(*personal) != Treatment::Keep)
        .map(Personal::as_str)
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
