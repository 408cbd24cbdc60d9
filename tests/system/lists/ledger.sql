-- Four runs of tenants 1 and 2, with four chunks and four rejects.
INSERT INTO etl_control (tenant_id, type, status, triggered_by, requested_at, finished_at) VALUES
    (1, 'full', 'success', 'test', now() - interval '3 days', now()),
    (1, 'incremental', 'failed', 'test', now() - interval '2 hours', now()),
    (2, 'incremental', 'partial', 'test', now() - interval '1 hour', now()),
    (2, 'resync', 'success', 'test', '2026-01-31T08:00:00Z', now());
INSERT INTO etl_chunk (run_id, seq, tenant_id, lane, spec, key_count, status, failure_count, lost_count, finished_at) VALUES
    (1, 1, 1, 'bulk', '{"kind":"key_range","lo":1,"hi":9}', 9, 'done', 0, 0, now()),
    (2, 1, 1, 'live', '{"kind":"keys","ids":[1]}', 1, 'dead', 4, 0, now()),
    (2, 2, 1, 'live', '{"kind":"keys","ids":[2]}', 1, 'done', 0, 1, now()),
    (3, 1, 2, 'live', '{"kind":"keys","ids":[3]}', 1, 'done', 0, 0, now());
INSERT INTO etl_rejected_row (tenant_id, conversation_id, run_id, chunk_seq, side, sqlstate, error, last_seen_at, resolved_at) VALUES
    (1, 10, 2, 1, 'source', '22P02', 'a cast', now() - interval '1 day', NULL),
    (1, 11, 2, 2, 'target', '23514', 'a constraint', now(), NULL),
    (2, 12, 3, 1, 'transform', NULL, 'a NUL', now(), NULL),
    (2, 13, 3, 1, 'target', '23505', 'a key', now(), now());
