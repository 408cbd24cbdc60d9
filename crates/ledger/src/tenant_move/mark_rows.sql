-- Marks all rows of a tenant deleted, when it moves to another source. They get version zero, so that any read of the
-- new source is newer. A row marked deleted has no digest.
-- $1 tenant
UPDATE conversations_analytics
SET source_deleted_at = coalesce(source_deleted_at, now()),
    etl_updated_at = CASE WHEN source_deleted_at IS NULL THEN now() ELSE etl_updated_at END,
    source_epoch = 0, source_xmax = 0, source_in_progress = 0, row_digest = NULL
WHERE tenant_id = $1
