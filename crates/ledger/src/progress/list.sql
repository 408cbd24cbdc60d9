-- The progress of runs at this moment, by the ledger's clock. A source's chunks in flight are counted as dispatch
-- counts them; its limit is in the settings. Each running chunk and each plan uses one session of its source.
-- $1 runs, $2 seconds that count as recent
SELECT r.id AS run_id, now() AS at, t.source AS source_name,
       c.pending, c.queued, c.running, c.done, c.dead, c.cancelled, c.failed_attempts, c.lost_leases, c.began_at,
       c.keys_total, c.keys_ended, c.rows_ended, c.chunks_recent, c.keys_recent, c.rows_recent,
       longest.seq AS running_seq, longest.attempt AS running_attempt, longest.worker_id AS running_worker,
       longest.took_ms AS running_ms,
       slowest.seq AS done_seq, slowest.attempt AS done_attempt, slowest.worker_id AS done_worker,
       slowest.took_ms AS done_ms,
       s.in_flight AS source_in_flight, s.running + s.planning AS source_sessions
FROM etl_control r
JOIN tenants t ON t.id = r.tenant_id
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE status = 'pending') AS pending,
           count(*) FILTER (WHERE status = 'queued') AS queued,
           count(*) FILTER (WHERE status = 'running') AS running,
           count(*) FILTER (WHERE status = 'done') AS done,
           count(*) FILTER (WHERE status = 'dead') AS dead,
           count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
           coalesce(sum(failure_count), 0)::bigint AS failed_attempts,
           coalesce(sum(lost_count), 0)::bigint AS lost_leases,
           min(started_at) AS began_at,
           coalesce(sum(key_count), 0)::bigint AS keys_total,
           coalesce(sum(key_count) FILTER (WHERE finished_at IS NOT NULL), 0)::bigint AS keys_ended,
           coalesce(sum(extracted) FILTER (WHERE status = 'done'), 0)::bigint AS rows_ended,
           count(*) FILTER (WHERE status = 'done' AND finished_at > now() - make_interval(secs => $2)) AS chunks_recent,
           coalesce(sum(key_count) FILTER (WHERE status = 'done'
                                           AND finished_at > now() - make_interval(secs => $2)), 0)::bigint AS keys_recent,
           coalesce(sum(extracted) FILTER (WHERE status = 'done'
                                           AND finished_at > now() - make_interval(secs => $2)), 0)::bigint AS rows_recent
    FROM etl_chunk WHERE run_id = r.id) c
LEFT JOIN LATERAL (
    SELECT seq, attempt, worker_id, (extract(epoch FROM now() - started_at) * 1000)::bigint AS took_ms
    FROM etl_chunk WHERE run_id = r.id AND status = 'running' ORDER BY started_at, seq LIMIT 1) longest ON true
LEFT JOIN LATERAL (
    SELECT seq, attempt, worker_id, (extract(epoch FROM finished_at - started_at) * 1000)::bigint AS took_ms
    FROM etl_chunk WHERE run_id = r.id AND status = 'done' AND started_at IS NOT NULL
    ORDER BY finished_at - started_at DESC, seq LIMIT 1) slowest ON true
CROSS JOIN LATERAL (
    SELECT count(*) AS in_flight, count(*) FILTER (WHERE o.status = 'running') AS running,
           (SELECT count(*) FROM etl_control p JOIN tenants pt ON pt.id = p.tenant_id
            WHERE p.status = 'planning' AND p.finished_at IS NULL AND pt.source = t.source) AS planning
    FROM etl_chunk o JOIN tenants ot ON ot.id = o.tenant_id
    WHERE o.status IN ('queued', 'running') AND ot.source = t.source) s
WHERE r.id = ANY($1)
ORDER BY r.id
