-- Backfills to request, of three kinds. First, inboxes whose history was never fetched. Second, renames and deleted
-- senders whose backfill failed or was cancelled. Third, policies that some rows may not satisfy yet. Inboxes and names
-- need a tenant with a watermark: without one the first sync writes them. A backfill that failed or was cancelled waits
-- $2 seconds.
-- $1 only these tenants (NULL: all), $2 seconds to wait
WITH active AS (
    SELECT t.id, t.source, t.policy_version, w.policy_version AS satisfied_version, w.watermark
    FROM tenants t
    JOIN etl_watermark w ON w.tenant_id = t.id
    WHERE t.paused_at IS NULL AND t.deleted_at IS NULL AND t.status IN ('active', 'trial')
      AND ($1::integer[] IS NULL OR t.id = ANY($1))
), ready AS (
    SELECT id, source FROM active WHERE watermark IS NOT NULL
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
-- a full run that was planned later has written the names and senders too
SELECT f.tenant_id, f.request -> 'selection'
FROM etl_control f
JOIN ready r ON r.id = f.tenant_id
WHERE f.type = 'backfill' AND f.status IN ('failed', 'cancelled') AND f.request #>> '{selection,kind}' IN ('renamed', 'senders')
  AND f.finished_at <= now() - make_interval(secs => $2)
  AND NOT EXISTS (
    SELECT FROM etl_control l
    WHERE l.tenant_id = f.tenant_id AND l.id > f.id
      AND ((l.type = 'backfill' AND l.request -> 'selection' = f.request -> 'selection')
        OR (l.type = 'full' AND l.status IN ('success', 'partial')))
  )
UNION ALL
SELECT a.id, jsonb_build_object('kind', 'policy', 'version', a.policy_version)
FROM active a
WHERE a.satisfied_version < a.policy_version
  AND EXISTS (SELECT FROM inbox_tenant_mapping m WHERE m.tenant_id = a.id AND m.source = a.source AND m.is_active)
  AND NOT EXISTS (
    SELECT FROM etl_control c
    WHERE c.tenant_id = a.id AND c.type IN ('full', 'backfill')
      AND (c.type = 'full' OR c.request #>> '{selection,kind}' = 'policy')
      AND ((c.finished_at IS NULL AND (c.status IN ('requested', 'planning') OR c.mapping_version >= a.policy_version))
        OR (c.type = 'backfill' AND c.status IN ('failed', 'cancelled')
            AND c.finished_at > now() - make_interval(secs => $2)))
  )
