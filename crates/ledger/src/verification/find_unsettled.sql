-- A chunk's findings that have to be compared a second time. A scheduled comparison waits until the watermark has passed its
-- first look. A requested one waits until the runs that were open have ended. Both wait for a limited time.
-- $1 run, $2 number of the chunk, $3 whether the comparison is scheduled
SELECT p.source_epoch, p.source_xmax, p.source_in_progress, p.source_looked_at, p.source_rows,
       p.target_rows, p.pending,
       p.missing + p.extra + p.stale + p.different + p.impossible + p.unproven AS found, p.fault_count,
       CASE WHEN $3 THEN coalesce(w.watermark >= p.source_looked_at, false)
            ELSE NOT EXISTS (SELECT FROM etl_control r WHERE r.tenant_id = p.tenant_id
                               AND r.finished_at IS NULL AND r.requested_at <= p.noted_at
                               AND r.type IN ('incremental', 'full')) END AS is_due,
       p.noted_at < now() - CASE WHEN $3 THEN 2 * t.sync_interval + interval '10 minutes'
                                 ELSE interval '1 minute' END AS is_overdue
FROM etl_verification_part p JOIN tenants t ON t.id = p.tenant_id
JOIN etl_watermark w ON w.tenant_id = p.tenant_id
WHERE p.run_id = $1 AND p.seq = $2 AND NOT p.is_settled
