-- Sums up what the chunks of a run found, in place of the tenant's earlier comparison.
-- $1 run
INSERT INTO etl_verification (tenant_id, run_id, source_rows, target_rows, missing, extra, stale,
                              different, impossible, pending, unproven)
SELECT r.tenant_id, r.id, coalesce(sum(p.source_rows), 0), coalesce(sum(p.target_rows), 0),
       coalesce(sum(p.missing), 0), coalesce(sum(p.extra), 0), coalesce(sum(p.stale), 0),
       coalesce(sum(p.different), 0), coalesce(sum(p.impossible), 0), coalesce(sum(p.pending), 0),
       coalesce(sum(p.unproven), 0)
FROM etl_control r LEFT JOIN etl_verification_part p ON p.run_id = r.id
WHERE r.id = $1 GROUP BY r.id
ON CONFLICT (tenant_id) DO UPDATE
SET verified_at = now(), run_id = excluded.run_id, source_rows = excluded.source_rows,
    target_rows = excluded.target_rows, missing = excluded.missing, extra = excluded.extra,
    stale = excluded.stale, different = excluded.different, impossible = excluded.impossible,
    pending = excluded.pending, unproven = excluded.unproven
