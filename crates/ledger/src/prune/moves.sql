-- Deletes or counts old moves of watermarks, in one part of the audit. The newest move of a tenant stays, because the
-- next one extends it; so young lines may come before old ones.
-- $1 seconds to keep, $2 last id of the part before, $3 lines of a part, $4 whether to count only
WITH part AS (SELECT a.id, a.tenant_id, a.moved_at < now() - make_interval(secs => $1) AS old
              FROM etl_watermark_audit a WHERE a.id > $2 ORDER BY a.id LIMIT $3),
     gone AS (DELETE FROM etl_watermark_audit a USING part p WHERE a.id = p.id AND p.old AND NOT $4
                AND EXISTS (SELECT FROM etl_watermark_audit l WHERE l.tenant_id = a.tenant_id AND l.id > a.id)
              RETURNING 1)
SELECT max(p.id) AS last,
       CASE WHEN $4 THEN count(*) FILTER (WHERE p.old
                AND EXISTS (SELECT FROM etl_watermark_audit l WHERE l.tenant_id = p.tenant_id AND l.id > p.id))
            ELSE (SELECT count(*) FROM gone) END AS gone
FROM part p
