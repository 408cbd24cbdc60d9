-- Moves of the watermarks of tenants $1 since $2 hours, oldest first: of each half hour the one that ended the longest lag,
-- and the last one. Only the newest 300 of each tenant are read: no index has times.
SELECT tenant_id, began_at, moved_at, old, new
FROM (SELECT m.*, row_number() OVER (PARTITION BY m.tenant_id, m.part ORDER BY m.began_at - m.old DESC NULLS LAST) AS by_lag,
             row_number() OVER (PARTITION BY m.tenant_id, m.part ORDER BY m.id DESC) AS by_time
      FROM unnest($1::integer[]) AS t (id)
      CROSS JOIN LATERAL (
          SELECT a.tenant_id, a.id, coalesce(a.began_at, a.moved_at) AS began_at, a.moved_at, a.old, a.new,
                 floor(extract(epoch FROM a.moved_at) / 1800) AS part
          FROM etl_watermark_audit a WHERE a.tenant_id = t.id AND a.new IS NOT NULL
          ORDER BY a.id DESC LIMIT 300) m
      WHERE m.moved_at > now() - make_interval(hours => $2)) l
WHERE l.by_lag = 1 OR l.by_time = 1
ORDER BY tenant_id, moved_at
