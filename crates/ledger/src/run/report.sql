-- Reports of runs. Totals of an open run are summed from its chunks, so that progress shows before the end.
-- $1 runs
SELECT r.id, r.tenant_id, r.type::text, r.status::text, r.watermark_start, r.watermark_end, r.signals, r.trace_id,
       r.error_message, r.warnings, r.chunks_total, r.triggered_by, r.reason, r.requested_at, r.started_at, r.finished_at,
       -- of a long list of ids the first 20 and the number of all: see IDS_SHOWN in run.rs
       CASE WHEN jsonb_typeof(r.request #> '{selection,ids}') = 'array'
                 AND jsonb_array_length(r.request #> '{selection,ids}') > 20
            THEN jsonb_set(jsonb_set(r.request, '{selection,id_count}',
                                     to_jsonb(jsonb_array_length(r.request #> '{selection,ids}'))),
                           '{selection,ids}', jsonb_path_query_array(r.request, '$.selection.ids[0 to 19]'))
            ELSE r.request END AS request,
       (extract(epoch FROM coalesce(r.finished_at, now()) - r.requested_at) * 1000)::bigint AS duration_ms,
       coalesce(c.done, r.chunks_done) AS chunks_done, coalesce(c.dead, r.chunks_dead) AS chunks_dead,
       coalesce(c.extracted, r.records_extracted) AS extracted, coalesce(c.inserted, r.records_inserted) AS inserted,
       coalesce(c.updated, r.records_updated) AS updated, coalesce(c.unchanged, r.records_unchanged) AS unchanged,
       coalesce(c.stale, r.records_stale) AS stale, coalesce(c.deleted, r.records_deleted) AS deleted,
       coalesce(c.rejected, r.records_rejected) AS rejected, to_jsonb(v) AS verification
FROM etl_control r
LEFT JOIN LATERAL (SELECT sum(source_rows) AS source_rows, sum(target_rows) AS target_rows,
                          sum(missing) AS missing, sum(extra) AS extra, sum(stale) AS stale,
                          sum(different) AS different, sum(impossible) AS impossible,
                          sum(pending) AS pending, sum(unproven) AS unproven
                   FROM etl_verification_part WHERE run_id = r.id HAVING count(*) > 0) v
       ON r.type = 'verify'
LEFT JOIN LATERAL (SELECT count(*) FILTER (WHERE status = 'done')::integer AS done,
                     count(*) FILTER (WHERE status = 'dead')::integer AS dead,
                     sum(extracted)::bigint AS extracted, sum(inserted)::bigint AS inserted,
                     sum(updated)::bigint AS updated, sum(unchanged)::bigint AS unchanged,
                     sum(stale)::bigint AS stale, sum(deleted)::bigint AS deleted,
                     sum(rejected)::bigint AS rejected
              FROM etl_chunk WHERE run_id = r.id) c ON r.finished_at IS NULL
WHERE r.id = ANY($1) ORDER BY r.id
