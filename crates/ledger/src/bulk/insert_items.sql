-- $1 job, $2 tenants, $3 runs, $4 numbers of chunks, $5 lists of conversations, $6 why an item is skipped
INSERT INTO etl_bulk_item (bulk_id, seq, tenant_id, run_id, chunk_seq, conversation_ids, status, outcome, finished_at)
SELECT $1, i.seq, i.tenant_id, i.run_id, i.chunk_seq, i.conversation_ids,
       CASE WHEN i.outcome IS NULL THEN 'pending' ELSE 'skipped' END, i.outcome,
       CASE WHEN i.outcome IS NOT NULL THEN now() END
FROM unnest($2::integer[], $3::bigint[], $4::integer[], $5::jsonb[], $6::text[])
     WITH ORDINALITY AS i (tenant_id, run_id, chunk_seq, conversation_ids, outcome, seq)
