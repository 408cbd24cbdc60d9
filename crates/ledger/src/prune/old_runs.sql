-- Runs that may be deleted. A tenant's newest runs stay, and the run that its watermark comes from. A run with an open
-- chunk stays too: the chunk may still be on its way to the target.
-- $1 seconds to keep runs that succeeded, $2 seconds to keep the others, $3 how many of a tenant's newest runs stay
SELECT r.id
FROM tenants t
JOIN etl_watermark w ON w.tenant_id = t.id
CROSS JOIN LATERAL (
    SELECT n.id FROM etl_control n WHERE n.tenant_id = t.id ORDER BY n.id DESC OFFSET $3 LIMIT 1
) newest_to_go
JOIN etl_control r ON r.tenant_id = t.id AND r.id <= newest_to_go.id
 AND r.finished_at < now() - make_interval(secs => least($1::float8, $2::float8))
 AND r.finished_at < now() - make_interval(secs => CASE WHEN r.status = 'success' THEN $1 ELSE $2 END)
WHERE r.id IS DISTINCT FROM w.run_id
  AND NOT EXISTS (SELECT FROM etl_chunk c
                  WHERE c.run_id = r.id AND (c.status = 'pending' OR c.status IN ('queued', 'running')))
