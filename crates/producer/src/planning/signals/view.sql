-- As conversations.sql, on a view, with the same parameters; and for each tenant, in the row of its first bucket, the names
-- that its conversations show, as [kind, id, digest, texts]. One pass over the view reads both: rows that show the same
-- names have the same hashes, and one conversation for each hash is read again by its key. Of several names for one id the
-- first in order counts. The hashes are NULL where names are not wanted or the view has none.
-- In psql replace the words in braces: they are expressions over the view's row v, but for the name of the view, the order
-- of the rows of one conversation, and the branches of CASE that choose a kind of name.
WITH read AS MATERIALIZED (
    -- conversation_id comes first, since sorting is fast while the first column decides
    SELECT DISTINCT ON (v.conversation_id, m.tenant_id)
           m.tenant_id, m.fetched, m.since,
           v.conversation_id::bigint AS id,
           {digest} AS digest,
           {changed_at} AS changed_at,
           {inbox_hash} AS inbox_hash, {account_hash} AS account_hash, {user_hash} AS user_hash, {team_hash} AS team_hash
    FROM unnest($1::integer[], $2::integer[], $3::boolean[], $4::timestamp[]) AS m (inbox_id, tenant_id, fetched, since)
    JOIN {view} v ON v.inbox_id = m.inbox_id
    WHERE (cardinality($1::integer[]) > 100 OR v.inbox_id = ANY($1::integer[]))
      AND ($6::bigint IS NULL OR v.conversation_id >= $6) AND ($7::bigint IS NULL OR v.conversation_id <= $7)
      AND (cardinality($8::bigint[]) = 0 OR v.conversation_id <> ALL($8::bigint[]))
    ORDER BY v.conversation_id, m.tenant_id, {newest_first}
), buckets AS (
    SELECT tenant_id,
           id / $5 AS bucket,
           count(*) FILTER (WHERE fetched) AS count,
           coalesce(sum(digest) FILTER (WHERE fetched), 0)::text AS digest,
           count(*) FILTER (WHERE fetched AND changed_at >= since) AS changed_count,
           coalesce(sum(digest) FILTER (WHERE fetched AND changed_at >= since), 0)::text AS changed_digest,
           max(id) AS last,
           coalesce(array_agg(id) FILTER (WHERE changed_at >= since), '{}') AS changed
    FROM read
    GROUP BY 1, 2
), combinations AS (
    SELECT tenant_id, inbox_hash, account_hash, user_hash, team_hash, min(id) AS id
    FROM read
    GROUP BY 1, 2, 3, 4, 5
), examples AS (
    SELECT c.tenant_id, n.kind, min(c.id) AS id
    FROM combinations c
    CROSS JOIN LATERAL (
        VALUES ('inbox', inbox_hash), ('account', account_hash), ('user', user_hash), ('team', team_hash)
    ) AS n (kind, hash)
    WHERE n.hash IS NOT NULL
    GROUP BY c.tenant_id, n.kind, n.hash
), names AS (
    SELECT DISTINCT ON (e.tenant_id, e.kind, n.id) e.tenant_id, e.kind, n.id, n.texts
    FROM examples e
    CROSS JOIN LATERAL (
        SELECT CASE e.kind {ids} END AS id, CASE e.kind {texts} END AS texts
        FROM {view} v
        WHERE v.conversation_id = e.id AND v.inbox_id = ANY($1::integer[])
        ORDER BY {newest_first}
        LIMIT 1
    ) n
    ORDER BY e.tenant_id, e.kind, n.id, n.texts
)
SELECT b.tenant_id, b.bucket, b.count, b.digest, b.changed_count, b.changed_digest, b.last, b.changed,
       CASE WHEN row_number() OVER (PARTITION BY b.tenant_id ORDER BY b.bucket) = 1 THEN n.names END AS names
FROM buckets b
LEFT JOIN (
    SELECT tenant_id, jsonb_agg(jsonb_build_array(kind, id, md5(texts::text), to_jsonb(texts))) AS names
    FROM names
    GROUP BY 1
) n ON n.tenant_id = b.tenant_id
ORDER BY 1, 2
