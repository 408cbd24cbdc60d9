-- Sums the digests of these conversations' messages, by the same buckets. "digest" comes from source/digest.rs. The range
-- stands twice, so that an index of the messages can serve it.
-- $1 to $3 range of conversations, $2 the tenant's inboxes, $4 bits per bucket
SELECT c.id::bigint >> $4 AS bucket, sum({digest})::text AS related
FROM conversations c
JOIN messages m ON m.conversation_id = c.id
WHERE c.id BETWEEN $1 AND $3 AND m.conversation_id BETWEEN $1 AND $3 AND c.inbox_id = ANY($2)
GROUP BY 1
