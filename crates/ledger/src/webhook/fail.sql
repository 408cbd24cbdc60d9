-- Notes that a message could not be delivered. It is sent again until a day after it was written, and is dead then.
-- $1 message, $2 attempt, $3 seconds until the next attempt, $4 status code, $5 error
UPDATE etl_webhook_delivery
SET status_code = $4, error = $5,
    dead_at = CASE WHEN created_at <= now() - interval '1 day' THEN now() END,
    -- the last attempt is a day after the message was written
    due_at = CASE WHEN created_at <= now() - interval '1 day' THEN due_at
                  ELSE least(now() + make_interval(secs => $3), created_at + interval '1 day') END
WHERE id = $1 AND attempt = $2 AND delivered_at IS NULL AND dead_at IS NULL
RETURNING dead_at IS NOT NULL
