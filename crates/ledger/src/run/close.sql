-- Ends a running run with the totals of its chunks. Each chunk alone may have few rejects and the run too many. Only
-- rejects that are new since the watermark last moved count: see MAX_REJECTS in reject.rs. A running run has an error when its
-- plan left something undecided.
-- $1 run, $2 rejects and $3 percent of rows: more than both fail the run
WITH total AS (
    SELECT count(*) FILTER (WHERE status = 'done') AS done,
           count(*) FILTER (WHERE status = 'dead') AS dead,
           count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
           coalesce(sum(extracted), 0)::bigint AS extracted, coalesce(sum(inserted), 0)::bigint AS inserted,
           coalesce(sum(updated), 0)::bigint AS updated, coalesce(sum(unchanged), 0)::bigint AS unchanged,
           coalesce(sum(stale), 0)::bigint AS stale, coalesce(sum(deleted), 0)::bigint AS deleted,
           coalesce(sum(rejected), 0)::bigint AS rejected,
           (array_agg(error ORDER BY seq) FILTER (WHERE status = 'dead'))[1] AS error
    FROM etl_chunk WHERE run_id = $1),
fresh AS (
    SELECT count(*) > $2 AND count(*) * 100 > max(t.extracted) * $3 AS too_many,
           format('%s of %s rows cannot be loaded: too many to be single bad rows',
                  count(*), max(t.extracted)) AS error
    FROM total t
    JOIN etl_rejected_row j ON j.run_id = $1 AND j.resolved_at IS NULL
    JOIN etl_control r ON r.id = $1 AND r.tenant_id = j.tenant_id
    JOIN etl_watermark w ON w.tenant_id = j.tenant_id
    WHERE w.advanced_at IS NULL OR j.first_seen_at > w.advanced_at)
UPDATE etl_control SET finished_at = now(),
       status = CASE WHEN total.dead > 0 OR total.cancelled > 0 OR fresh.too_many THEN 'failed'
                     WHEN total.rejected > 0 OR error_message IS NOT NULL THEN 'partial' ELSE 'success' END::etl_run_status,
       chunks_done = total.done, chunks_dead = total.dead,
       records_extracted = total.extracted, records_inserted = total.inserted,
       records_updated = total.updated, records_unchanged = total.unchanged, records_stale = total.stale,
       records_deleted = total.deleted, records_rejected = total.rejected,
       error_message = coalesce(total.error, CASE WHEN fresh.too_many THEN fresh.error END, error_message)
FROM total, fresh WHERE id = $1 AND status = 'running' RETURNING status
