-- The chunks of a run as at most $2 cells in their order. A cell shows the state that needs attention first.
-- $1 run, $2 cells, $3 chunks of the run
SELECT min(seq) AS first, max(seq) AS last,
       CASE WHEN bool_or(status = 'dead') THEN 'dead'
            WHEN bool_or(status = 'running') THEN 'running'
            WHEN bool_or(status = 'queued') THEN 'queued'
            WHEN bool_or(status = 'pending' AND failure_count > 0) THEN 'retrying'
            WHEN bool_or(status = 'pending') THEN 'pending'
            WHEN bool_or(status = 'cancelled') THEN 'cancelled'
            ELSE 'done' END AS state
FROM (SELECT seq, status, failure_count, (seq - 1)::bigint * least($2::bigint, $3::bigint) / greatest($3::bigint, 1) AS cell
      FROM etl_chunk WHERE run_id = $1) c
GROUP BY cell ORDER BY cell
