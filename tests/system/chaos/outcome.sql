-- How the runs and chunks of the whole ledger have ended, and the rows of the target.
SELECT count(*) AS chunks, count(*) FILTER (WHERE status = 'dead') AS dead,
       coalesce(sum(lost_count), 0)::bigint AS takeovers,
       coalesce(sum(greatest(publish_count - 1, 0)), 0)::bigint AS republished,
       coalesce(sum(failure_count), 0)::bigint AS failures,
       r.*, (SELECT count(*) FROM conversations_analytics) AS rows
FROM etl_chunk, (SELECT count(*) AS runs, count(*) FILTER (WHERE status = 'success') AS success,
                        count(*) FILTER (WHERE status = 'partial') AS partial,
                        count(*) FILTER (WHERE status = 'failed') AS failed FROM etl_control) r
GROUP BY r.runs, r.success, r.partial, r.failed
