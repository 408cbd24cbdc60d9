-- Clears a contact's texts and phone number in conversations of other contacts. A row has no digest until the resync reads
-- it again. A client's phone that was used as the phone of the conversation's contact is cleared too.
-- $1 tenant, $2 contact
WITH theirs AS (SELECT jsonb_build_object('sender', 'Contact', 'sender_id', $2::bigint) AS message)
UPDATE conversations_analytics a SET
    message_compiled = (SELECT jsonb_agg(CASE WHEN m @> t.message THEN m || '{"text": null}' ELSE m END
                                         ORDER BY n)
                        FROM jsonb_array_elements(a.message_compiled) WITH ORDINALITY AS e (m, n)),
    first_message_text = CASE WHEN (SELECT m FROM jsonb_array_elements(a.message_compiled)
                                                  WITH ORDINALITY AS e (m, n)
                                    WHERE m -> 'private' = 'false' ORDER BY n LIMIT 1) @> t.message
                              THEN NULL ELSE a.first_message_text END,
    last_message_text = CASE WHEN (SELECT m FROM jsonb_array_elements(a.message_compiled)
                                                 WITH ORDINALITY AS e (m, n)
                                   WHERE m -> 'private' = 'false' ORDER BY n DESC LIMIT 1) @> t.message
                             THEN NULL ELSE a.last_message_text END,
    -- whose text it is is not stored: the resync writes it again where it is another contact's
    first_customer_text = NULL,
    last_customer_text = NULL,
    contact_phone = CASE WHEN a.client_sender_id = $2 AND a.contact_phone = a.client_phone
                         THEN NULL ELSE a.contact_phone END,
    client_phone = CASE WHEN a.client_sender_id = $2 THEN NULL ELSE a.client_phone END,
    row_hash = decode(repeat('00', 16), 'hex'), row_digest = NULL, etl_updated_at = now()
FROM theirs t
WHERE a.tenant_id = $1 AND a.contact_id IS DISTINCT FROM $2
  AND (a.client_sender_id = $2 OR a.message_compiled @> jsonb_build_array(t.message))
RETURNING a.conversation_id, a.conversation_date, a.source_deleted_at IS NULL
