-- Open rejects by cause, the most frequent first. $1 tenants (NULL: all), $2 tenant
SELECT side, sqlstate, substring(error FROM 'constraint "?([a-z0-9_]+)') AS constraint_name,
       count(*) AS rejects, count(DISTINCT tenant_id) AS tenants, min(first_seen_at) AS first_seen_at,
       max(last_seen_at) AS last_seen_at, (array_agg(error ORDER BY last_seen_at DESC))[1] AS example
FROM etl_rejected_row
WHERE resolved_at IS NULL AND ($1::integer[] IS NULL OR tenant_id = ANY($1)) AND ($2::integer IS NULL OR tenant_id = $2)
GROUP BY 1, 2, 3 ORDER BY count(*) DESC, side, sqlstate LIMIT 100
