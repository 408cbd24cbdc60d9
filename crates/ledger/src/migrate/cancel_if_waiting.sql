-- Cancels a session whose transaction has begun so many seconds ago and that waits for a lock; says whether.
SELECT coalesce((SELECT pg_cancel_backend(waiting.pid) FROM pg_stat_activity waiting
                 WHERE waiting.pid = $1 AND waiting.wait_event_type = 'Lock'
                   AND waiting.xact_start < clock_timestamp() - make_interval(secs => $2)), false)
