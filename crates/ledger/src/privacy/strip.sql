-- Clears personal data in rows that no load writes again: of some conversations, or of every row marked deleted.
-- Hashed columns are cleared too, because these rows are not written again before their conversation can be read. A live
-- row then has no digest and differs from every read.
-- $1 tenant, $2 columns to clear, $3 conversations (NULL: every row marked deleted)
-- Returns the live rows.
WITH stripped AS (
UPDATE conversations_analytics a SET
    row_hash = CASE WHEN source_deleted_at IS NULL THEN decode(repeat('00', 16), 'hex') ELSE row_hash END,
    row_digest = NULL,
    etl_updated_at = CASE WHEN source_deleted_at IS NULL THEN now() ELSE etl_updated_at END,
    contact_name = CASE WHEN 'contact_name' = ANY($2) THEN NULL ELSE contact_name END,
    contact_email = CASE WHEN 'contact_email' = ANY($2) THEN NULL ELSE contact_email END,
    contact_phone = CASE WHEN 'contact_phone' = ANY($2)
                           OR ('client_phone' = ANY($2) AND contact_phone = client_phone)
                         THEN NULL ELSE contact_phone END,
    contact_identifier = CASE WHEN 'contact_identifier' = ANY($2) THEN NULL ELSE contact_identifier END,
    client_phone = CASE WHEN 'client_phone' = ANY($2) THEN NULL ELSE client_phone END,
    csat_feedback = CASE WHEN 'csat_feedback' = ANY($2) THEN NULL ELSE csat_feedback END,
    first_message_text = CASE WHEN 'message_text' = ANY($2) THEN NULL ELSE first_message_text END,
    last_message_text = CASE WHEN 'message_text' = ANY($2) THEN NULL ELSE last_message_text END,
    first_customer_text = CASE WHEN 'message_text' = ANY($2) THEN NULL ELSE first_customer_text END,
    last_customer_text = CASE WHEN 'message_text' = ANY($2) THEN NULL ELSE last_customer_text END,
    last_agent_text = CASE WHEN 'message_text' = ANY($2) THEN NULL ELSE last_agent_text END,
    contact_custom_attributes = CASE WHEN 'contact_attributes' = ANY($2) THEN NULL ELSE contact_custom_attributes END,
    contact_additional_attributes = CASE WHEN 'contact_attributes' = ANY($2)
                                         THEN NULL ELSE contact_additional_attributes END,
    message_compiled = CASE WHEN 'message_text' = ANY($2) AND message_compiled IS NOT NULL
        THEN (SELECT jsonb_agg(m || '{"text": null}' ORDER BY n)
              FROM jsonb_array_elements(a.message_compiled) WITH ORDINALITY AS e (m, n))
        ELSE message_compiled END
WHERE tenant_id = $1 AND ($3::bigint[] IS NULL AND source_deleted_at IS NOT NULL OR conversation_id = ANY($3))
RETURNING a.conversation_id, a.conversation_date, a.source_deleted_at IS NULL AS is_live
)
SELECT conversation_id, conversation_date, is_live FROM stripped WHERE is_live
