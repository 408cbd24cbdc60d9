INSERT INTO etl_control (tenant_id, type, status, triggered_by, requested_at, started_at, finished_at, chunks_total, chunks_done)
SELECT 1 + n % 20, 'incremental', (CASE WHEN n <= 50 THEN 'failed' ELSE 'success' END)::etl_run_status, 'test',
       now() - make_interval(mins => 40000 - n), now() - make_interval(mins => 40000 - n),
       now() - make_interval(mins => 40000 - n), 2, 2
FROM generate_series(1, 20000) n;
INSERT INTO etl_chunk (run_id, seq, tenant_id, lane, spec, key_count, status, failure_count, finished_at, started_at)
SELECT r.id, s, r.tenant_id, 'live', '{"kind": "keys", "ids": [1]}', 1,
       (CASE WHEN r.id <= 10 THEN 'dead' ELSE 'done' END)::etl_chunk_status, CASE WHEN r.id <= 20 THEN 1 ELSE 0 END,
       r.finished_at, r.started_at
FROM etl_control r CROSS JOIN generate_series(1, 2) s;
WITH run AS (
    INSERT INTO etl_control (tenant_id, type, status, triggered_by, started_at, chunks_total)
    VALUES (3, 'full', 'running', 'test', now(), 5000) RETURNING id
)
INSERT INTO etl_chunk (run_id, seq, tenant_id, lane, spec, key_count, status, finished_at, started_at, queued_at, lease_until, attempt)
SELECT run.id, s, 3, 'bulk', '{"kind": "keys", "ids": [1]}', 1, state.status, CASE WHEN state.status = 'done' THEN now() END,
       CASE WHEN state.status <> 'pending' THEN now() - interval '1 second' END, now(),
       CASE WHEN state.status = 'running' THEN now() + interval '1 hour' END, 1
FROM run CROSS JOIN generate_series(1, 5000) s
CROSS JOIN LATERAL (SELECT (CASE WHEN s <= 4000 THEN 'done' WHEN s <= 4010 THEN 'running'
                                 ELSE 'pending' END)::etl_chunk_status AS status) state;
