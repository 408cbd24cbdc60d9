-- Conversations with messages that were created or edited since. Changed messages of all inboxes are read first and then
-- joined to their conversations: in a merged installation a message may have another inbox than its conversation.
-- $1 inboxes, and for each: $2 its tenant, $3 since; $4 the earliest of these; $5 only messages created after this, or NULL:
-- the index on created_at then limits the scan, and verification finds edits of older messages; $6 only this conversation, or
-- NULL; $7 the latest time of interest: later times are cut to it; $8 and $9 messages that are older than this age and not later
-- than this time are covered (NULL: none is). {age} stands for age(messages.xmin)
WITH changed AS MATERIALIZED (
    SELECT conversation_id, max(greatest(created_at, updated_at)) AS changed_at, min({age}) AS age
    FROM messages
    WHERE ($5::timestamp IS NULL OR created_at >= $5) AND (created_at >= $4 OR updated_at >= $4)
      AND ($6::bigint IS NULL OR conversation_id = $6)
      AND ($8::integer IS NULL OR {age} <= $8 OR greatest(created_at, updated_at) > $9)
    GROUP BY conversation_id
)
SELECT m.tenant_id, c.id::bigint AS id, changed.age, least(changed.changed_at::timestamp, $7) AS changed_at
FROM changed
JOIN conversations c ON c.id = changed.conversation_id
JOIN unnest($1::integer[], $2::integer[], $3::timestamp[]) AS m (inbox_id, tenant_id, since) ON m.inbox_id = c.inbox_id
WHERE changed.changed_at >= m.since
