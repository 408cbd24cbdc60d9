-- Counts an item that has ended, and keeps the job. No row: another process has the job, or it was stopped.
-- $1 job, $2 worker, $3 how the item ended, $4 seconds
UPDATE etl_bulk
SET done_count = done_count + ($3 = 'done')::integer,
    skipped_count = skipped_count + ($3 = 'skipped')::integer,
    failed_count = failed_count + ($3 = 'failed')::integer,
    lease_until = now() + make_interval(secs => $4)
WHERE id = $1 AND worker_id = $2 AND status = 'running'
