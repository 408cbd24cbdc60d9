-- Backfills to ask for: inboxes whose history was never fetched, and renames and policies whose backfill has failed. A tenant without
-- a watermark gets everything anyway. What has failed or was cancelled is left alone for $2 seconds.
-- $1 only these tenants (NULL: all), $2 pause
WITH ready AS (
    SELECT t.id, t.source
    FROM tenants t
    JOIN etl_watermark w ON w.tenant_id = t.id AND w.watermark IS NOT NULL
    WHERE t.paused_at IS NULL AND t.deleted_at IS NULL AND t.status IN ('active', 'trial')
      AND ($1::integer[] IS NULL OR t.id = ANY($1))
)
SELECT r.id AS tenant_id, jsonb_build_object('kind', 'inboxes', 'inboxes', i.inboxes) AS selection
FROM ready r
JOIN (
    SELECT m.source, m.tenant_id, jsonb_agg(m.inbox_id ORDER BY m.inbox_id) AS inboxes
    FROM inbox_tenant_mapping m
    WHERE m.backfilled_at IS NULL AND m.is_active
    GROUP BY m.source, m.tenant_id
) i ON i.tenant_id = r.id AND i.source = r.source
WHERE NOT EXISTS (
    SELECT FROM etl_control c
    WHERE c.tenant_id = r.id
      AND ((c.type = 'full' AND c.finished_at IS NULL)
        OR (c.type = 'backfill' AND c.request #>> '{selection,kind}' = 'inboxes'
            AND (c.finished_at IS NULL
              OR (c.status IN ('failed', 'cancelled') AND c.finished_at > now() - make_interval(secs => $2)))))
)
UNION ALL
SELECT f.tenant_id, f.request -> 'selection'
FROM etl_control f
JOIN ready r ON r.id = f.tenant_id
WHERE f.type = 'backfill' AND f.status = 'failed' AND f.request #>> '{selection,kind}' IN ('renamed', 'policy')
  AND f.finished_at BETWEEN now() - interval '7 days' AND now() - make_interval(secs => $2)
  AND NOT EXISTS (
    SELECT FROM etl_control l
    WHERE l.tenant_id = f.tenant_id AND l.id > f.id AND l.type = 'backfill'
      AND l.request -> 'selection' = f.request -> 'selection'
  )
