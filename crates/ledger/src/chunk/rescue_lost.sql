-- Running chunks whose lease has ended: back to pending, or dead after too many lost leases.
-- $1 lost leases that make a chunk dead
UPDATE etl_chunk SET lease_until = NULL, worker_id = NULL, lost_count = lost_count + 1,
       status = CASE WHEN lost_count + 1 >= $1 THEN 'dead' ELSE 'pending' END::etl_chunk_status,
       finished_at = CASE WHEN lost_count + 1 >= $1 THEN now() END,
       error = CASE WHEN lost_count + 1 >= $1
                    THEN format('its workers vanished %s times (last: %s)', lost_count + 1, worker_id)
                    ELSE error END,
       next_attempt_at = now()
WHERE (run_id, seq) IN (SELECT run_id, seq FROM etl_chunk
                        WHERE status = 'running' AND lease_until < now()
                        ORDER BY run_id, seq LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED)
RETURNING run_id, seq, tenant_id, attempt, status::text, traceparent, tracestate
