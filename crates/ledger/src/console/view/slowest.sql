-- The chunks of run $1 that took longest, at most $2, in the order in which they began.
SELECT seq, worker_id, status::text, started_at, finished_at
FROM (SELECT seq, worker_id, status, started_at, finished_at
      FROM etl_chunk
      WHERE run_id = $1 AND started_at IS NOT NULL AND (status = 'running' OR status IN ('done', 'dead') AND finished_at IS NOT NULL)
      ORDER BY coalesce(finished_at, now()) - started_at DESC, seq LIMIT $2) longest
ORDER BY started_at, seq
