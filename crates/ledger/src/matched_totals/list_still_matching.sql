-- Tenants whose recorded totals still match those of the source: same mapping, count and digest, no run since, no open
-- reject. A record expires after 30 to 60 minutes, by tenant, so that tenants compared together do not expire together.
-- For each tenant: $1 id, $2 version of the mapping, $3 conversations, $4 sum of the digests
SELECT a.tenant_id
FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::text[])
         AS n (tenant_id, mapping_version, conversation_count, digest)
JOIN etl_agreement a ON a.tenant_id = n.tenant_id AND a.mapping_version = n.mapping_version
 AND a.conversation_count = n.conversation_count AND a.digest = n.digest::numeric
WHERE a.agreed_at > now() - interval '1 hour' * (0.5 + a.tenant_id % 16 / 32.0)
  AND a.newest_run_id IS NOT DISTINCT FROM
      (SELECT max(r.id) FROM etl_control r WHERE r.tenant_id = a.tenant_id)
  AND a.last_finished_at IS NOT DISTINCT FROM
      (SELECT max(r.finished_at) FROM etl_control r WHERE r.tenant_id = a.tenant_id)
  AND NOT EXISTS (SELECT FROM etl_control r WHERE r.tenant_id = a.tenant_id AND r.finished_at IS NULL)
  AND NOT EXISTS (SELECT FROM etl_rejected_row j WHERE j.tenant_id = a.tenant_id AND j.resolved_at IS NULL)
ORDER BY a.tenant_id
