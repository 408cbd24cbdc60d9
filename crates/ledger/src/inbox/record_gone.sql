-- Records inboxes that the source no longer has, and inboxes that it has. Rows of an inbox that is there do not wait.
-- $1 source, $2 inboxes that are gone, $3 inboxes that are there
WITH changed AS (
    SELECT m.inbox_id, m.inbox_id = ANY($2) AS is_gone
    FROM inbox_tenant_mapping m
    WHERE m.source = $1
      AND ((m.inbox_id = ANY($2) AND m.gone_at IS NULL) OR (m.inbox_id = ANY($3) AND m.gone_at IS NOT NULL))
    ORDER BY m.inbox_id FOR NO KEY UPDATE
)
UPDATE inbox_tenant_mapping m
SET gone_at = CASE WHEN c.is_gone THEN now() END, waiting_rows = CASE WHEN c.is_gone THEN m.waiting_rows ELSE 0 END
FROM changed c WHERE m.source = $1 AND m.inbox_id = c.inbox_id
