-- Tenants with everything that the ledger knows for their plans. One statement, so that the inboxes belong to the version
-- of the mapping.
-- $1 tenants
SELECT t.id, t.name, t.slug, t.status::text, t.source, t.account_id, t.discover, t.timezone,
       extract(epoch FROM t.sync_interval)::float8 AS sync_interval,
       extract(epoch FROM t.lookback)::float8 AS lookback,
       t.chunk_size, t.max_in_flight, t.mapping_version, t.privacy, t.paused_at, t.pause_reason,
       extract(epoch FROM t.verify_interval)::float8 AS verify_interval, w.watermark, w.consecutive_failures,
       w.absent_columns, w.covered_epoch,
       -- covered under another mapping or before another watermark: nothing
       CASE WHEN w.covered_version = t.mapping_version AND w.covered_watermark = w.watermark
            THEN w.covered_xmin END AS covered_xmin, w.covered_clock, w.covered_since,
       CASE WHEN w.digests_version = t.mapping_version
             AND NOT EXISTS (SELECT FROM etl_source_audit s
                             WHERE s.source = t.source AND s.accepted_at >= w.digests_compared_at)
            THEN extract(epoch FROM now() - w.digests_compared_at)::float8 END AS digests_age,
       coalesce(m.inboxes, '{}') AS inboxes, coalesce(m.unfetched, '{}') AS unfetched,
       coalesce(m.gone, '{}') AS gone, coalesce(m.waiting, '[]') AS waiting
FROM tenants t JOIN etl_watermark w ON w.tenant_id = t.id
LEFT JOIN LATERAL (SELECT array_agg(i.inbox_id ORDER BY i.inbox_id) AS inboxes,
                          array_agg(i.inbox_id ORDER BY i.inbox_id)
                              FILTER (WHERE i.backfilled_at IS NULL) AS unfetched,
                          array_agg(i.inbox_id ORDER BY i.inbox_id) FILTER (WHERE i.gone_at IS NOT NULL) AS gone,
                          jsonb_agg(jsonb_build_object('inbox_id', i.inbox_id, 'name', i.inbox_name,
                                                       'rows', i.waiting_rows) ORDER BY i.inbox_id)
                              FILTER (WHERE i.waiting_rows > 0) AS waiting
                   FROM inbox_tenant_mapping i
                   WHERE i.tenant_id = t.id AND i.source = t.source AND i.is_active) m ON true
WHERE t.id = ANY($1) AND t.deleted_at IS NULL ORDER BY t.id
