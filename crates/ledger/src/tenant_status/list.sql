-- Every tenant at this moment. Late has the same meaning as in fleet/tenants.sql.
SELECT now() AS at, t.id, t.name, t.slug, t.status::text, t.source, t.account_id, t.discover, t.timezone,
       extract(epoch FROM t.sync_interval)::float8 AS sync_interval,
       extract(epoch FROM t.lookback)::float8 AS lookback,
       t.chunk_size, t.max_in_flight, t.mapping_version, t.privacy, t.paused_at, t.pause_reason,
       extract(epoch FROM t.verify_interval)::float8 AS verify_interval,
       w.watermark, w.checked_at, w.consecutive_failures, w.next_due_at, w.plan_error,
       now() - coalesce(w.watermark, t.created_at) > interval '1 minute' + 3 * t.sync_interval AS late,
       (SELECT count(*) FROM inbox_tenant_mapping m
        WHERE m.tenant_id = t.id AND m.source = t.source AND m.is_active) AS inboxes,
       coalesce(c.pending, 0) AS pending, coalesce(c.queued, 0) AS queued, coalesce(c.running, 0) AS running,
       coalesce(c.backing_off, 0) AS backing_off, c.error AS last_error,
       -- The first entry of the index at or after the tenant. With `tenant_id = t.id ORDER BY id DESC` the planner may walk through
       -- all runs backwards, for each tenant that has none.
       (SELECT CASE WHEN newest.tenant_id = t.id THEN newest.id END
        FROM (SELECT r.tenant_id, r.id FROM etl_control r WHERE r.tenant_id >= t.id
              ORDER BY r.tenant_id, r.id DESC LIMIT 1) newest) AS last_run_id
FROM tenants t JOIN etl_watermark w ON w.tenant_id = t.id
LEFT JOIN (SELECT tenant_id, count(*) FILTER (WHERE status = 'pending') AS pending,
                  count(*) FILTER (WHERE status = 'queued') AS queued,
                  count(*) FILTER (WHERE status = 'running') AS running,
                  count(*) FILTER (WHERE status = 'pending' AND next_attempt_at > now()) AS backing_off,
                  (array_agg(error ORDER BY next_attempt_at DESC)
                       FILTER (WHERE status = 'pending' AND error IS NOT NULL))[1] AS error
           FROM etl_chunk WHERE status = 'pending' OR status IN ('queued', 'running') GROUP BY tenant_id) c
     ON c.tenant_id = t.id
WHERE t.deleted_at IS NULL ORDER BY t.id
