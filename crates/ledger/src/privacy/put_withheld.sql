-- Records conversations as withheld, unless the target has a row of them. Returns those that are new or have changed.
-- $1 tenant, and for each conversation: $2 id, $3 contact, $4 inbox, $5 digest
INSERT INTO etl_withheld_conversation AS w
    (tenant_id, conversation_id, contact_id, inbox_id, source_digest)
SELECT $1, n.conversation_id, n.contact_id, n.inbox_id, n.source_digest
FROM unnest($2::bigint[], $3::bigint[], $4::integer[], $5::bigint[])
         AS n (conversation_id, contact_id, inbox_id, source_digest)
WHERE NOT EXISTS (SELECT FROM conversations_analytics a
                  WHERE a.tenant_id = $1 AND a.conversation_id = n.conversation_id)
ORDER BY n.conversation_id
ON CONFLICT (tenant_id, conversation_id) DO UPDATE
SET contact_id = excluded.contact_id, inbox_id = excluded.inbox_id,
    source_digest = excluded.source_digest
WHERE (w.contact_id, w.inbox_id, w.source_digest)
      IS DISTINCT FROM (excluded.contact_id, excluded.inbox_id, excluded.source_digest)
RETURNING conversation_id
