-- Records totals that matched, in place of each tenant's earlier record.
-- For each tenant: $1 id, $2 version of the mapping, $3 newest run, $4 when a run last ended, $5 conversations, $6 sum of
-- the digests
INSERT INTO etl_agreement (tenant_id, mapping_version, newest_run_id, last_finished_at,
                           conversation_count, digest)
SELECT n.tenant_id, mapping_version, newest_run_id, last_finished_at, conversation_count, digest::numeric
FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::bigint[], $6::text[])
         AS n (tenant_id, mapping_version, newest_run_id, last_finished_at, conversation_count, digest)
ORDER BY n.tenant_id
ON CONFLICT (tenant_id) DO UPDATE
SET mapping_version = excluded.mapping_version, newest_run_id = excluded.newest_run_id,
    last_finished_at = excluded.last_finished_at, conversation_count = excluded.conversation_count,
    digest = excluded.digest, agreed_at = now()
