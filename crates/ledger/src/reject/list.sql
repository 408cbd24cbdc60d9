-- Rejected rows. NULL does not filter.
-- $1 tenant, $2 whether resolved rejects are listed too, $3 conversation, $4 run, $5 side, $6 SQLSTATE or its first
-- characters, $7 seen since, $8 seen within so many seconds, $9 limit, behind conversation $11 of tenant $10,
-- $12 error
SELECT tenant_id, conversation_id, side, sqlstate, error, run_id, chunk_seq, attempts, first_seen_at,
       last_seen_at, resolved_at
FROM etl_rejected_row
WHERE ($1::integer IS NULL OR tenant_id = $1) AND ($2 OR resolved_at IS NULL)
  AND ($3::bigint IS NULL OR conversation_id = $3) AND ($4::bigint IS NULL OR run_id = $4)
  AND ($5::text IS NULL OR side = $5) AND ($6::text IS NULL OR sqlstate LIKE $6 || '%')
  AND ($7::timestamptz IS NULL OR last_seen_at >= $7)
  AND ($8::float8 IS NULL OR last_seen_at >= now() - make_interval(secs => $8))
  AND ($12::text IS NULL OR error = $12)
  AND (tenant_id, conversation_id) > ($10, $11)
ORDER BY tenant_id, conversation_id LIMIT $9
