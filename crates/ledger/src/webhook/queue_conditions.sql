-- Writes a message for each condition that holds and was not reported to a webhook yet, and for each that was and no longer
-- holds. A webhook hears of a condition once. Late is as in fleet/tenants.sql; a source counts as fenced when it has not
-- answered for a minute, or an old transaction has held its fence for ten minutes.
WITH condition (event, over, subject, tenant_id, body) AS (
    SELECT 'tenant.late', 'tenant.recovered', t.id::text, t.id,
           jsonb_build_object('tenant_id', t.id, 'watermark', w.watermark, 'behind_seconds', lag.seconds,
                              'consecutive_failures', w.consecutive_failures)
    FROM tenants t JOIN etl_watermark w ON w.tenant_id = t.id
    CROSS JOIN LATERAL (SELECT round(extract(epoch FROM now() - coalesce(w.watermark, t.created_at)))::bigint AS seconds) lag
    WHERE t.paused_at IS NULL AND t.deleted_at IS NULL AND t.status IN ('active', 'trial')
      AND lag.seconds > 60 + 3 * extract(epoch FROM t.sync_interval)
      AND EXISTS (SELECT FROM inbox_tenant_mapping m WHERE m.tenant_id = t.id AND m.source = t.source AND m.is_active)
    UNION ALL
    SELECT 'rows.at_fault', NULL, t.id::text, t.id,
           jsonb_build_object('tenant_id', t.id, 'verified_at', v.verified_at, 'missing', v.missing, 'extra', v.extra,
                              'stale', v.stale, 'different', v.different, 'impossible', v.impossible)
    FROM etl_verification v JOIN tenants t ON t.id = v.tenant_id AND t.deleted_at IS NULL
    WHERE v.missing + v.extra + v.stale + v.different + v.impossible > 0
    UNION ALL
    SELECT 'source.fenced', 'source.recovered', s.source, NULL::integer,
           jsonb_build_object('source', s.source, 'failing_since', s.failing_since,
                              'fence_lag_seconds', round(extract(epoch FROM held.lag))::bigint)
    FROM etl_source_watch s
    CROSS JOIN LATERAL (SELECT s.looked_at - coalesce(s.fence_at, (s.holder->>'since')::timestamptz) AS lag) held
    WHERE (s.failing_since < now() - interval '1 minute' OR held.lag > interval '10 minutes')
      AND EXISTS (SELECT FROM tenants t WHERE t.source = s.source AND t.deleted_at IS NULL)
), wanted AS (
    SELECT w.id AS webhook_id, w.events, c.* FROM etl_webhook w JOIN condition c
        ON (c.event = ANY (w.events) OR c.over = ANY (w.events)) AND (w.tenant_id IS NULL OR w.tenant_id = c.tenant_id)
), begun AS (
    INSERT INTO etl_webhook_condition (webhook_id, event, subject, tenant_id)
    SELECT webhook_id, event, subject, tenant_id FROM wanted
    ON CONFLICT DO NOTHING
    RETURNING webhook_id, event, subject
), ended AS (
    DELETE FROM etl_webhook_condition c
    WHERE NOT EXISTS (SELECT FROM wanted n WHERE n.webhook_id = c.webhook_id AND n.event = c.event AND n.subject = c.subject)
    RETURNING c.webhook_id, c.event, c.subject, c.tenant_id, c.since
), queued AS (
    INSERT INTO etl_webhook_delivery (webhook_id, event, tenant_id, body)
    SELECT webhook_id, event, tenant_id, body FROM wanted NATURAL JOIN begun WHERE event = ANY (events)
    UNION ALL
    SELECT e.webhook_id, o.over, e.tenant_id,
           jsonb_build_object(o.kind, CASE o.kind WHEN 'tenant_id' THEN to_jsonb(e.tenant_id) ELSE to_jsonb(e.subject) END,
                              'since', e.since)
    FROM ended e
    JOIN (VALUES ('tenant.late', 'tenant.recovered', 'tenant_id'), ('source.fenced', 'source.recovered', 'source'))
        AS o (event, over, kind) ON o.event = e.event
    JOIN etl_webhook w ON w.id = e.webhook_id AND o.over = ANY (w.events)
    -- a late tenant that is paused or removed has not recovered
    WHERE e.tenant_id IS NULL OR e.tenant_id IN (SELECT id FROM tenants WHERE paused_at IS NULL AND deleted_at IS NULL)
    RETURNING 1
)
SELECT count(*) FROM queued
