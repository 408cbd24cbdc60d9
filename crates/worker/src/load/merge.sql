-- Staging into the target: new rows, and rows whose content differs, unless the target has them from a newer read.
-- A row that had been marked deleted comes back. {columns} and {updates} come from load/columns.rs.
-- What was updated is younger than its insertion, always: that tells the two apart, also in a partitioned table, which has
-- no xmax to show.
-- $1 run, $2 the source's clock, $3 epoch, $4 xmax, $5 transactions in progress, $6 to $7 which conversations
INSERT INTO conversations_analytics AS t ({columns}, etl_run_id, source_extracted_at, source_epoch, source_xmax,
                                          source_in_progress)
SELECT {columns}, $1, $2, $3, $4, $5
FROM pg_temp.tidemark_staging
WHERE conversation_id BETWEEN $6 AND $7
ORDER BY conversation_id
ON CONFLICT (tenant_id, conversation_id) DO UPDATE
SET {updates},
    etl_run_id = EXCLUDED.etl_run_id, source_deleted_at = NULL,
    etl_updated_at = greatest(now(), t.etl_inserted_at + interval '1 microsecond'),
    source_extracted_at = EXCLUDED.source_extracted_at, source_epoch = EXCLUDED.source_epoch,
    source_xmax = EXCLUDED.source_xmax, source_in_progress = EXCLUDED.source_in_progress
WHERE (t.row_hash <> EXCLUDED.row_hash OR t.source_digest <> EXCLUDED.source_digest OR t.source_deleted_at IS NOT NULL)
  AND (EXCLUDED.source_epoch, EXCLUDED.source_xmax, -EXCLUDED.source_in_progress, EXCLUDED.source_extracted_at)
      >= (t.source_epoch, t.source_xmax, -t.source_in_progress, t.source_extracted_at)
RETURNING t.conversation_id, t.etl_updated_at = t.etl_inserted_at
