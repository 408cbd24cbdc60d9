-- Whose page it is, which day it is there, and how fresh the rows are.
-- $1 integer tenant
SELECT t.name, t.timezone, now() AS now, (now() AT TIME ZONE t.timezone)::date AS today,
       w.watermark, w.checked_at,
       (SELECT max(finished_at) FROM etl_control WHERE tenant_id = $1) AS newest_run_at
FROM tenants AS t
LEFT JOIN etl_watermark AS w ON w.tenant_id = t.id
WHERE t.id = $1
