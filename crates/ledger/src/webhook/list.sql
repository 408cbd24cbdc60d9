-- Webhooks with the state of their messages.
-- $1 one webhook, or NULL for all
SELECT w.id, w.url, w.events, w.tenant_id, w.format, w.created_at, w.created_by, count(d.id) FILTER (WHERE d.waits) AS waiting,
       count(d.id) FILTER (WHERE d.delivered_at IS NOT NULL) AS delivered, count(d.id) FILTER (WHERE d.dead_at IS NOT NULL) AS dead,
       max(d.delivered_at) AS delivered_at,
       (array_agg(d.error ORDER BY d.id DESC) FILTER (WHERE d.error IS NOT NULL AND d.delivered_at IS NULL))[1] AS error
FROM etl_webhook w
LEFT JOIN LATERAL (SELECT l.*, l.delivered_at IS NULL AND l.dead_at IS NULL AS waits
                   FROM etl_webhook_delivery l WHERE l.webhook_id = w.id) d ON true
WHERE $1::integer IS NULL OR w.id = $1
GROUP BY w.id ORDER BY w.id
