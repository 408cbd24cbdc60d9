-- Counts the conversations of a range of ids and sums their digests, by bucket. A bucket is the id without its last $5
-- bits.
-- "digest" and "related" come from source/digest.rs. Only the newest satisfaction answer counts, as in the extraction.
-- $1 to $4 range of conversations, $2 the tenant's inboxes, $3 the seed of the digests, $5 bits per bucket
SELECT c.id::bigint >> $5 AS bucket, count(*) AS count, sum({digest})::text AS source, sum({related})::text AS related
FROM conversations c
LEFT JOIN accounts a ON a.id = c.account_id
LEFT JOIN inboxes i ON i.id = c.inbox_id
LEFT JOIN users u ON u.id = c.assignee_id
LEFT JOIN teams t ON t.id = c.team_id
LEFT JOIN contacts k ON k.id = c.contact_id
LEFT JOIN (
    SELECT DISTINCT ON (r.conversation_id) r.conversation_id, r.id::bigint AS id, r.rating::integer AS rating,
           r.feedback_message::text AS feedback_message, r.created_at::timestamp AS created_at
    FROM csat_survey_responses r
    WHERE r.conversation_id BETWEEN $1 AND $4
    ORDER BY r.conversation_id, r.created_at DESC, r.id DESC
) s ON s.conversation_id = c.id
WHERE c.id BETWEEN $1 AND $4 AND c.inbox_id = ANY($2)
GROUP BY 1
ORDER BY 1
