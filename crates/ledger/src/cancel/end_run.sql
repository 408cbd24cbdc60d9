-- Ends a cancelled run with the totals of its chunks.
-- $1 run, $2 error text
UPDATE etl_control SET status = 'cancelled', finished_at = now(), planning_until = NULL,
       error_message = $2,
       chunks_done = total.done, chunks_dead = total.dead,
       records_extracted = total.extracted, records_inserted = total.inserted,
       records_updated = total.updated, records_unchanged = total.unchanged,
       records_stale = total.stale, records_deleted = total.deleted, records_rejected = total.rejected
FROM (SELECT count(*) FILTER (WHERE status = 'done') AS done,
             count(*) FILTER (WHERE status = 'dead') AS dead,
             coalesce(sum(extracted), 0)::bigint AS extracted, coalesce(sum(inserted), 0)::bigint AS inserted,
             coalesce(sum(updated), 0)::bigint AS updated, coalesce(sum(unchanged), 0)::bigint AS unchanged,
             coalesce(sum(stale), 0)::bigint AS stale, coalesce(sum(deleted), 0)::bigint AS deleted,
             coalesce(sum(rejected), 0)::bigint AS rejected
      FROM etl_chunk WHERE run_id = $1) total
WHERE id = $1
