-- The newest chunks that cover one conversation. Chunks of one run do not overlap, so at most one chunk of a run matches.
-- $1 tenant, $2 conversation, $3 how many of the newest runs to search, $4 limit
SELECT r.id AS run_id, c.seq, r.type::text AS run_type, r.status::text AS run_status, c.status::text, c.attempt, c.error,
       c.finished_at, c.source_extracted_at,
       coalesce(split_part(c.traceparent, '-', 2), r.trace_id) AS trace_id
FROM (SELECT id, type, status, trace_id FROM etl_control WHERE tenant_id = $1
      ORDER BY id DESC LIMIT $3) r
CROSS JOIN LATERAL (
    SELECT seq, status, attempt, error, finished_at, source_extracted_at, traceparent FROM etl_chunk
    WHERE run_id = r.id
      AND CASE spec ->> 'kind'
          WHEN 'key_range' THEN $2 BETWEEN (spec ->> 'lo')::bigint AND (spec ->> 'hi')::bigint
          ELSE spec -> 'ids' @> to_jsonb($2::bigint) END LIMIT 1) c
ORDER BY r.id DESC LIMIT $4
