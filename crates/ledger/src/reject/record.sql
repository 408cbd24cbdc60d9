-- Records rejected rows. A reject that was resolved counts as new.
-- $1 tenant, $2 run, $3 number of the chunk, and for each row: $4 conversation, $5 side, $6 SQLSTATE, $7 error
INSERT INTO etl_rejected_row (tenant_id, conversation_id, run_id, chunk_seq, side, sqlstate, error)
SELECT $1, conversation_id, $2, $3, side, sqlstate, error
FROM unnest($4::bigint[], $5::text[], $6::text[], $7::text[]) AS new (conversation_id, side, sqlstate, error)
ON CONFLICT (tenant_id, conversation_id) DO UPDATE
SET run_id = excluded.run_id, chunk_seq = excluded.chunk_seq, side = excluded.side,
    sqlstate = excluded.sqlstate, error = excluded.error, last_seen_at = now(), resolved_at = NULL,
    first_seen_at = CASE WHEN etl_rejected_row.resolved_at IS NULL THEN etl_rejected_row.first_seen_at
                         ELSE now() END,
    attempts = CASE WHEN etl_rejected_row.resolved_at IS NULL THEN etl_rejected_row.attempts + 1 ELSE 1 END
