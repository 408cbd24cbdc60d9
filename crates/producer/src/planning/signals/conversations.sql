-- One pass over the conversations of a group of tenants, in buckets of $5 ids: which changed since their tenant's $4, and
-- how many there are with the sum of their digests, of all and of those that changed. What is not yet fetched is neither counted nor summed: a backfill
-- brings it. {digest} and {changed_at} come from shared/source/digest.rs.
-- $1 inboxes, and for each: $2 its tenant, $3 whether it is fetched, $4 since (UTC; NULL names none as changed); $5 width of
-- a bucket, $6 to $7 which conversations (NULL: all), $8 but not these. It is planned for what is bound: conditions that then
-- say nothing are gone from the plan, and a few inboxes are found by their index.
SELECT tenant_id,
       id / $5 AS bucket,
       count(*) FILTER (WHERE fetched) AS count,
       coalesce(sum(digest) FILTER (WHERE fetched), 0)::text AS digest,
       count(*) FILTER (WHERE fetched AND changed_at >= since) AS changed_count,
       coalesce(sum(digest) FILTER (WHERE fetched AND changed_at >= since), 0)::text AS changed_digest,
       max(id) AS last,
       coalesce(array_agg(id) FILTER (WHERE changed_at >= since), '{}') AS changed
FROM (
    SELECT m.tenant_id, m.fetched, m.since,
           c.id::bigint AS id,
           {digest} AS digest,
           {changed_at} AS changed_at
    FROM unnest($1::integer[], $2::integer[], $3::boolean[], $4::timestamp[]) AS m (inbox_id, tenant_id, fetched, since)
    JOIN conversations c ON c.inbox_id = m.inbox_id
    WHERE (cardinality($1::integer[]) > 100 OR c.inbox_id = ANY($1::integer[]))
      AND ($6::bigint IS NULL OR c.id >= $6) AND ($7::bigint IS NULL OR c.id <= $7)
      AND (cardinality($8::bigint[]) = 0 OR c.id <> ALL($8::bigint[]))
    OFFSET 0 -- digests are computed once
) read
GROUP BY 1, 2
ORDER BY 1, 2
