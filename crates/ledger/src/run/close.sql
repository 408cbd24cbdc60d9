-- Ends running runs with the totals of their chunks. Each chunk alone may have few rejects and the run too many. Only
-- rejects that are new since the watermark last moved count: see MAX_REJECTS in reject.rs. A running run has an error when its
-- plan left something undecided.
-- $1 runs, $2 rejects and $3 percent of rows: more than both fail a run
WITH total AS (
    SELECT n.id,
           count(*) FILTER (WHERE c.status = 'done') AS done,
           count(*) FILTER (WHERE c.status = 'dead') AS dead,
           count(*) FILTER (WHERE c.status = 'cancelled') AS cancelled,
           coalesce(sum(c.extracted), 0)::bigint AS extracted, coalesce(sum(c.inserted), 0)::bigint AS inserted,
           coalesce(sum(c.updated), 0)::bigint AS updated, coalesce(sum(c.unchanged), 0)::bigint AS unchanged,
           coalesce(sum(c.stale), 0)::bigint AS stale, coalesce(sum(c.deleted), 0)::bigint AS deleted,
           coalesce(sum(c.rejected), 0)::bigint AS rejected,
           (array_agg(c.error ORDER BY c.seq) FILTER (WHERE c.status = 'dead'))[1] AS error
    FROM unnest($1::bigint[]) AS n (id)
    LEFT JOIN etl_chunk c ON c.run_id = n.id
    GROUP BY n.id),
fresh AS (
    SELECT t.id, count(*) > $2 AND count(*) * 100 > max(t.extracted) * $3 AS too_many,
           format('%s of %s rows cannot be loaded: too many to be single bad rows',
                  count(*), max(t.extracted)) AS error
    FROM total t
    JOIN etl_control r ON r.id = t.id
    JOIN etl_rejected_row j ON j.tenant_id = r.tenant_id AND j.run_id = t.id AND j.resolved_at IS NULL
    JOIN etl_watermark w ON w.tenant_id = r.tenant_id
    WHERE w.advanced_at IS NULL OR j.first_seen_at > w.advanced_at
    GROUP BY t.id)
UPDATE etl_control r
SET finished_at = now(),
    status = CASE WHEN total.dead > 0 OR total.cancelled > 0 OR fresh.too_many THEN 'failed'
                  WHEN total.rejected > 0 OR r.error_message IS NOT NULL THEN 'partial' ELSE 'success' END::etl_run_status,
    chunks_done = total.done, chunks_dead = total.dead,
    records_extracted = total.extracted, records_inserted = total.inserted,
    records_updated = total.updated, records_unchanged = total.unchanged, records_stale = total.stale,
    records_deleted = total.deleted, records_rejected = total.rejected,
    error_message = coalesce(total.error, CASE WHEN fresh.too_many THEN fresh.error END, r.error_message)
FROM total LEFT JOIN fresh ON fresh.id = total.id
WHERE r.id = total.id AND r.status = 'running'
RETURNING r.id, r.status::text
