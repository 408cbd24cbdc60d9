-- 50,000 runs that have ended, 50 of them badly and long ago, and one that is under way with 100,000 chunks done and a few
-- left; 100,000 more chunks of ended runs, some dead or tried again long ago. 20 tenants.
INSERT INTO etl_control (tenant_id, type, status, triggered_by, requested_at, started_at, finished_at)
SELECT 1 + n % 20, 'incremental', (CASE WHEN n <= 50 THEN 'failed' ELSE 'success' END)::etl_run_status, 'test',
       now() - make_interval(mins => 100000 - n), now() - make_interval(mins => 100000 - n),
       now() - make_interval(mins => 100000 - n)
FROM generate_series(1, 50000) n;
INSERT INTO etl_chunk (run_id, seq, tenant_id, lane, spec, key_count, status, failure_count, finished_at, started_at)
SELECT r.id, s, r.tenant_id, 'live', '{"kind": "keys", "ids": [1]}', 1,
       (CASE WHEN r.id <= 10 THEN 'dead' ELSE 'done' END)::etl_chunk_status, CASE WHEN r.id <= 20 THEN 1 ELSE 0 END,
       r.finished_at, r.started_at
FROM etl_control r CROSS JOIN generate_series(1, 2) s;
WITH run AS (
    INSERT INTO etl_control (tenant_id, type, status, triggered_by, started_at, chunks_total)
    VALUES (3, 'full', 'running', 'test', now(), 100030) RETURNING id
)
INSERT INTO etl_chunk (run_id, seq, tenant_id, lane, spec, key_count, status, finished_at, queued_at, lease_until, attempt)
SELECT run.id, s, 3, 'bulk', '{"kind": "keys", "ids": [1]}', 1, state.status, CASE WHEN state.status = 'done' THEN now() END,
       now(), CASE WHEN state.status = 'running' THEN now() + interval '1 minute' END, 1
FROM run CROSS JOIN generate_series(1, 100030) s
CROSS JOIN LATERAL (SELECT (CASE WHEN s <= 100000 THEN 'done' WHEN s <= 100010 THEN 'running'
                                 WHEN s <= 100020 THEN 'queued' ELSE 'pending' END)::etl_chunk_status AS status) state;
-- tenants that have never run
INSERT INTO tenants (id, name, slug) SELECT n, 'New ' || n, 'new-' || n FROM generate_series(101, 200) n;
INSERT INTO etl_watermark (tenant_id) SELECT n FROM generate_series(101, 200) n ON CONFLICT DO NOTHING;
