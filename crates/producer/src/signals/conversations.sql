-- One pass over the tenant's conversations, in buckets of $3 ids: which changed since $2, and how many there are with a
-- digest of their ids. greatest() skips what is NULL. The digest is the one of shared/db/target.rs.
-- $1 inboxes, $2 since (UTC), $3 width of a bucket
SELECT id / $3 AS bucket,
       count(*) AS count,
       sum(((id % 2147483647) * 2654435761) % 4294967291)::text AS digest,
       max(id) AS last,
       coalesce(array_agg(id ORDER BY id) FILTER (WHERE changed_at >= $2), '{}') AS changed
FROM (
    SELECT id::bigint AS id,
           greatest(updated_at, last_activity_at, waiting_since, first_reply_created_at, contact_last_seen_at,
                    agent_last_seen_at, assignee_last_seen_at) AS changed_at
    FROM conversations
    WHERE inbox_id = ANY($1)
) c
GROUP BY 1
ORDER BY 1
