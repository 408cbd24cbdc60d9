-- As conversations.sql, on a view, with the same parameters. {view} is its name, {newest_first} orders the rows of one
-- conversation.
SELECT tenant_id,
       id / $5 AS bucket,
       count(*) FILTER (WHERE fetched) AS count,
       coalesce(sum(digest) FILTER (WHERE fetched), 0)::text AS digest,
       count(*) FILTER (WHERE fetched AND changed_at >= since) AS changed_count,
       coalesce(sum(digest) FILTER (WHERE fetched AND changed_at >= since), 0)::text AS changed_digest,
       max(id) AS last,
       coalesce(array_agg(id) FILTER (WHERE changed_at >= since), '{}') AS changed
FROM (
    SELECT DISTINCT ON (m.tenant_id, v.conversation_id)
           m.tenant_id, m.fetched, m.since,
           v.conversation_id::bigint AS id,
           {digest} AS digest,
           {changed_at} AS changed_at
    FROM unnest($1::integer[], $2::integer[], $3::boolean[], $4::timestamp[]) AS m (inbox_id, tenant_id, fetched, since)
    JOIN {view} v ON v.inbox_id = m.inbox_id
    WHERE (cardinality($1::integer[]) > 100 OR v.inbox_id = ANY($1::integer[]))
      AND ($6::bigint IS NULL OR v.conversation_id >= $6) AND ($7::bigint IS NULL OR v.conversation_id <= $7)
      AND (cardinality($8::bigint[]) = 0 OR v.conversation_id <> ALL($8::bigint[]))
    ORDER BY m.tenant_id, v.conversation_id, {newest_first}
) read
GROUP BY 1, 2
ORDER BY 1, 2
