-- The sums of the digests of these conversations' messages, in the same buckets. {digest} comes from
-- shared/source/digest.rs.
-- $1 to $3 which conversations, $2 the tenant's inboxes, $4 how many of the last bits of an id are left out
SELECT c.id::bigint >> $4 AS bucket, sum({digest})::text AS related
FROM conversations c
JOIN messages m ON m.conversation_id = c.id
WHERE c.id BETWEEN $1 AND $3 AND c.inbox_id = ANY($2)
GROUP BY 1
