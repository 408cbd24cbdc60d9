-- Records how many rows of a tenant's vanished inboxes wait for an operator; none of its other inboxes.
-- $1 source, $2 tenant, and for each inbox: $3 id, $4 rows
WITH changed AS (
    SELECT m.inbox_id, coalesce(w.waiting_rows, 0) AS waiting_rows
    FROM inbox_tenant_mapping m
    LEFT JOIN unnest($3::integer[], $4::bigint[]) AS w (inbox_id, waiting_rows) ON w.inbox_id = m.inbox_id
    WHERE m.source = $1 AND m.tenant_id = $2 AND m.waiting_rows <> coalesce(w.waiting_rows, 0)
    ORDER BY m.inbox_id FOR NO KEY UPDATE OF m
)
UPDATE inbox_tenant_mapping m
SET waiting_rows = c.waiting_rows, gone_at = CASE WHEN c.waiting_rows > 0 THEN coalesce(m.gone_at, now()) ELSE m.gone_at END
FROM changed c WHERE m.source = $1 AND m.inbox_id = c.inbox_id
