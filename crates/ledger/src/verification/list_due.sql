-- Tenants that are due for a comparison. A tenant with an open full run waits.
SELECT t.id FROM tenants t JOIN etl_watermark w ON w.tenant_id = t.id AND w.watermark IS NOT NULL
WHERE t.verify_interval IS NOT NULL AND t.paused_at IS NULL AND t.deleted_at IS NULL
  AND t.status IN ('active', 'trial')
  AND EXISTS (SELECT FROM inbox_tenant_mapping m
              WHERE m.tenant_id = t.id AND m.source = t.source AND m.is_active)
  AND NOT EXISTS (SELECT FROM etl_control r WHERE r.tenant_id = t.id AND r.type = 'verify'
                    AND (r.finished_at IS NULL OR r.requested_at > now() - t.verify_interval))
  AND NOT EXISTS (SELECT FROM etl_control r WHERE r.tenant_id = t.id AND r.type = 'full'
                    AND r.finished_at IS NULL)
ORDER BY t.id LIMIT 100
