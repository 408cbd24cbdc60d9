-- Conversations with messages created or edited since. What changed is read first, of all inboxes, and then looked up by
-- its conversation: in a merged installation a message may carry another inbox than its conversation.
-- $1 inboxes, and for each: $2 its tenant, $3 since; $4 the earliest of these; $5 no message older than this, or NULL: the
-- index on created_at bounds both, and an edit of an older message is found by verification; $6 this conversation, or NULL
WITH changed AS MATERIALIZED (
    SELECT conversation_id, max(greatest(created_at, updated_at)) AS changed_at
    FROM messages
    WHERE ($5::timestamp IS NULL OR created_at >= $5) AND (created_at >= $4 OR updated_at >= $4)
      AND ($6::bigint IS NULL OR conversation_id = $6)
    GROUP BY conversation_id
)
SELECT m.tenant_id, c.id::bigint
FROM changed
JOIN conversations c ON c.id = changed.conversation_id
JOIN unnest($1::integer[], $2::integer[], $3::timestamp[]) AS m (inbox_id, tenant_id, since) ON m.inbox_id = c.inbox_id
WHERE changed.changed_at >= m.since
