-- How far each tenant's watermark is behind. Tenants that are not planned are left out. Without a watermark the lag counts
-- from the moment the tenant was added. Late is three sync intervals and a minute: an ordinary run and a short outage stay
-- below that.
SELECT t.id AS tenant_id, lag.seconds AS watermark_lag, w.consecutive_failures,
       lag.seconds > 60 + 3 * extract(epoch FROM t.sync_interval) AS late
FROM tenants t JOIN etl_watermark w ON w.tenant_id = t.id
CROSS JOIN LATERAL (SELECT greatest(0, extract(epoch FROM now() - coalesce(w.watermark, t.created_at)))
                           ::float8 AS seconds) lag
WHERE t.paused_at IS NULL AND t.deleted_at IS NULL AND t.status IN ('active', 'trial')
  AND EXISTS (SELECT FROM inbox_tenant_mapping m
              WHERE m.tenant_id = t.id AND m.source = t.source AND m.is_active)
ORDER BY t.id
