-- Claims messages that are due: of each webhook a few, so that one that does not answer delays no other. A claim ends by
-- itself, and then the message is sent again.
-- $1 messages of a webhook, $2 seconds of a claim
WITH due AS (
    SELECT d.id FROM etl_webhook w
    CROSS JOIN LATERAL (SELECT l.id FROM etl_webhook_delivery l
                        WHERE l.webhook_id = w.id AND l.delivered_at IS NULL AND l.dead_at IS NULL AND l.due_at <= now()
                        ORDER BY l.due_at LIMIT $1 FOR UPDATE SKIP LOCKED) d)
UPDATE etl_webhook_delivery d
SET attempt = d.attempt + 1, due_at = now() + make_interval(secs => $2)
FROM due, etl_webhook w
WHERE d.id = due.id AND w.id = d.webhook_id
RETURNING d.id, d.webhook_id, d.event, d.tenant_id, d.body, d.attempt, d.created_at, now() AS sent_at, w.url, w.format
