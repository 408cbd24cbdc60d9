-- Claims tenants whose sync is due and that have no open run; each is due again one interval later.
-- $1 limit; sources that are left out: $2 for tenants whose last run went well, $3 for the others
UPDATE etl_watermark w SET next_due_at = now() + t.sync_interval
FROM tenants t WHERE t.id = w.tenant_id AND w.tenant_id IN (
    SELECT d.tenant_id FROM etl_watermark d JOIN tenants a ON a.id = d.tenant_id
    WHERE d.next_due_at <= now() AND a.paused_at IS NULL AND a.deleted_at IS NULL
      AND a.status IN ('active', 'trial')
      AND a.source <> ALL(CASE WHEN d.consecutive_failures = 0 THEN $2::text[] ELSE $3::text[] END)
      -- a plan may find the first inboxes of an account
      AND ((a.account_id IS NOT NULL AND a.discover)
        OR EXISTS (SELECT FROM inbox_tenant_mapping m
                   WHERE m.tenant_id = a.id AND m.source = a.source AND m.is_active))
      AND NOT EXISTS (SELECT FROM etl_control r WHERE r.tenant_id = a.id AND r.finished_at IS NULL
                      AND r.type IN ('incremental', 'full'))
    ORDER BY d.next_due_at LIMIT $1 FOR UPDATE OF d SKIP LOCKED)
RETURNING w.tenant_id
