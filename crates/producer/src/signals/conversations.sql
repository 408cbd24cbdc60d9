-- One pass over the tenant's conversations, in buckets of $3 ids: which changed since $2, and how many there are with the
-- sum of their digests. What is not yet fetched is neither counted nor summed: a backfill brings it.
-- greatest() skips what is NULL. {digest} comes from shared/source/digest.rs.
-- $1 inboxes, $2 since (UTC), $3 width of a bucket, $4 inboxes not yet fetched,
-- $5 to $6 which conversations, $7 but not these
SELECT id / $3 AS bucket,
       count(*) FILTER (WHERE fetched) AS count,
       coalesce(sum(digest) FILTER (WHERE fetched), 0)::text AS digest,
       max(id) AS last,
       coalesce(array_agg(id ORDER BY id) FILTER (WHERE changed_at >= $2), '{}') AS changed
FROM (
    SELECT c.id::bigint AS id,
           c.inbox_id <> ALL($4) AS fetched,
           {digest} AS digest,
           greatest(c.updated_at, c.last_activity_at, c.waiting_since, c.first_reply_created_at, c.contact_last_seen_at,
                    c.agent_last_seen_at, c.assignee_last_seen_at) AS changed_at
    FROM conversations c
    WHERE c.inbox_id = ANY($1) AND c.id BETWEEN $5::bigint AND $6::bigint AND c.id <> ALL($7::bigint[])
) read
GROUP BY 1
ORDER BY 1
