-- Marks rows deleted, unless the target has them from a newer read. "digest_is_invalid" comes from load/row_digest.rs:
-- a repair also marks a row that something other than a load has changed, since the version of such a row means
-- nothing.
-- $1 tenant, $2 conversations, $3 the source's clock, $4 run, $5 epoch, $6 xmax, $7 transactions in progress, $8
-- whether this is a repair
UPDATE conversations_analytics t
SET source_deleted_at = $3, etl_run_id = $4, etl_updated_at = now(), source_extracted_at = $3,
    source_epoch = $5, source_xmax = $6, source_in_progress = $7, row_digest = NULL
WHERE t.tenant_id = $1 AND t.conversation_id = ANY($2) AND t.source_deleted_at IS NULL
  AND (($5, $6, -$7, $3) >= (t.source_epoch, t.source_xmax, -t.source_in_progress, t.source_extracted_at)
       OR ($8 AND {digest_is_invalid}))
RETURNING t.conversation_id, t.inbox_id, t.conversation_date
