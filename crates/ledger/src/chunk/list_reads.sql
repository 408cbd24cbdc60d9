-- The newest done chunks of tenants, with the snapshots that they were read at. More than these few hundred are only within
-- the lookback of a tenant with very many runs, which reads the others again.
-- For each tenant: $1 id, $2 version of the mapping, $3 the chunk's snapshot ends after this transaction; $4 epoch of the
-- source
SELECT n.tenant_id, c.spec, c.source_xmin, c.source_extracted_at
FROM unnest($1::integer[], $2::bigint[], $3::bigint[]) AS n (tenant_id, mapping_version, after)
CROSS JOIN LATERAL (
    SELECT d.run_id, d.spec, d.source_xmin, d.source_extracted_at FROM etl_chunk d
    WHERE d.tenant_id = n.tenant_id AND d.status = 'done' AND d.source_epoch = $4 AND d.source_xmax > n.after
    ORDER BY d.tenant_id DESC, d.source_epoch DESC, d.source_xmax DESC LIMIT 500) c
JOIN etl_control r ON r.id = c.run_id AND r.mapping_version = n.mapping_version
WHERE c.source_xmin > n.after
