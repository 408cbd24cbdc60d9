-- Comparisons that wait for a sync and are due now. verification/find_unsettled.sql decides the same for the worker.
-- $1 only these runs (NULL: all)
UPDATE etl_chunk c
SET next_attempt_at = now()
FROM (
    SELECT w.run_id, w.seq
    FROM etl_verification_part p
    JOIN etl_control v ON v.id = p.run_id AND v.finished_at IS NULL
    JOIN etl_chunk w ON w.run_id = p.run_id AND w.seq = p.seq AND w.status = 'pending' AND w.next_attempt_at > now()
    JOIN tenants t ON t.id = p.tenant_id
    JOIN etl_watermark m ON m.tenant_id = p.tenant_id
    WHERE NOT p.is_settled AND ($1::bigint[] IS NULL OR p.run_id = ANY($1))
      AND CASE WHEN v.triggered_by = 'scheduler'
               THEN coalesce(m.watermark >= p.source_looked_at, false)
                 OR p.noted_at < now() - (2 * t.sync_interval + interval '10 minutes')
               ELSE p.noted_at < now() - interval '1 minute'
                 OR NOT EXISTS (SELECT FROM etl_control r
                                WHERE r.tenant_id = p.tenant_id AND r.finished_at IS NULL AND r.requested_at <= p.noted_at
                                  AND r.type IN ('incremental', 'full')) END
    ORDER BY w.run_id, w.seq
    FOR NO KEY UPDATE OF w SKIP LOCKED
) due
WHERE c.run_id = due.run_id AND c.seq = due.seq AND c.status = 'pending'
