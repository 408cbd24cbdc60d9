-- One pass over the tenant's conversations as the view shows them, for what conversations.sql finds in the tables.
-- $1 inboxes, $2 since (UTC), $3 width of a bucket, $4 inboxes not yet fetched,
-- $5 to $6 which conversations, $7 but not these
SELECT id / $3 AS bucket,
       count(*) FILTER (WHERE fetched) AS count,
       coalesce(sum(digest) FILTER (WHERE fetched), 0)::text AS digest,
       max(id) AS last,
       coalesce(array_agg(id ORDER BY id) FILTER (WHERE changed_at >= $2), '{}') AS changed
FROM (
    SELECT DISTINCT ON (v.conversation_id)
           v.conversation_id::bigint AS id,
           v.inbox_id <> ALL($4) AS fetched,
           {digest} AS digest,
           {changed_at} AS changed_at
    FROM {view} v
    WHERE v.inbox_id = ANY($1) AND v.conversation_id BETWEEN $5::bigint AND $6::bigint
      AND v.conversation_id <> ALL($7::bigint[])
    ORDER BY v.conversation_id, {newest_first}
) read
GROUP BY 1
ORDER BY 1
