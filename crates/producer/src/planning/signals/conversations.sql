-- Reads the conversations of a group of tenants once, in buckets of $5 ids: the ids that changed since their tenant's $4, and
-- the count and the sum of the digests, of all conversations and of the changed ones. Inboxes that wait for a backfill are
-- neither counted nor summed.
-- {digest} and {changed_at} are the expressions of source/digest.rs: replace them before running this in psql.
-- $1 inboxes, and for each: $2 its tenant, $3 false while it waits for a backfill, $4 since (UTC; NULL: nothing changed);
-- $5 width of a bucket, $6 first and $7 last conversation (NULL: all), $8 excluded conversations, $9 the latest watermark:
-- later times are cut to it. {age} stands for age(c.xmin).
-- PostgreSQL plans it for the bound values: conditions that are always true leave the plan, and few inboxes are found by
-- their index.
SELECT tenant_id,
       id / $5 AS bucket,
       count(*) FILTER (WHERE fetched) AS count,
       coalesce(sum(digest) FILTER (WHERE fetched), 0)::text AS digest,
       count(*) FILTER (WHERE fetched AND changed_at >= since) AS changed_count,
       coalesce(sum(digest) FILTER (WHERE fetched AND changed_at >= since), 0)::text AS changed_digest,
       max(id) AS last,
       coalesce(array_agg(id) FILTER (WHERE changed_at >= since), '{}') AS changed,
       coalesce(array_agg(digest) FILTER (WHERE changed_at >= since), '{}') AS changed_digests,
       coalesce(array_agg(age) FILTER (WHERE changed_at >= since), '{}') AS changed_ages,
       coalesce(array_agg(least(changed_at::timestamp, $9)) FILTER (WHERE changed_at >= since), '{}') AS changed_times
FROM (
    SELECT m.tenant_id, m.fetched, m.since,
           c.id::bigint AS id,
           {digest} AS digest,
           {changed_at} AS changed_at,
           {age} AS age
    FROM unnest($1::integer[], $2::integer[], $3::boolean[], $4::timestamp[]) AS m (inbox_id, tenant_id, fetched, since)
    JOIN conversations c ON c.inbox_id = m.inbox_id
    WHERE (cardinality($1::integer[]) > 100 OR c.inbox_id = ANY($1::integer[]))
      AND ($6::bigint IS NULL OR c.id >= $6) AND ($7::bigint IS NULL OR c.id <= $7)
      AND (cardinality($8::bigint[]) = 0 OR c.id <> ALL($8::bigint[]))
    OFFSET 0 -- digests are computed once
) read
GROUP BY 1, 2
ORDER BY 1, 2
