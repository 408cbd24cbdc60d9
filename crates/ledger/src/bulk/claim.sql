-- Takes a running job that nobody works on, for so many seconds.
-- $1 worker, $2 seconds, $3 only this job
UPDATE etl_bulk SET worker_id = $1, lease_until = now() + make_interval(secs => $2)
WHERE id = (
    SELECT id FROM etl_bulk
    WHERE status = 'running' AND (lease_until IS NULL OR lease_until < now() OR worker_id = $1)
      AND ($3::bigint IS NULL OR id = $3)
    ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, action, filter, reason, actor, origin, status, created_at, started_at, finished_at, item_count, object_count,
          done_count, skipped_count, failed_count
