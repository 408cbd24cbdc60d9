-- Marks all rows of a tenant deleted, when it moves to another source. They get version zero, so that any read of the
-- new source is newer. A row marked deleted has no digest. The feed of changes says that the live ones are gone; the caller has
-- locked the tenant.
-- $1 tenant
WITH marked AS (
    UPDATE conversations_analytics
    SET source_deleted_at = coalesce(source_deleted_at, now()),
        etl_updated_at = CASE WHEN source_deleted_at IS NULL THEN now() ELSE etl_updated_at END,
        source_epoch = 0, source_xmax = 0, source_in_progress = 0, row_digest = NULL
    WHERE tenant_id = $1
    RETURNING conversation_id, conversation_date, source_deleted_at = now() AS was_live
)
INSERT INTO conversation_change (tenant_id, conversation_id, kind, conversation_date)
SELECT $1, conversation_id, 'deleted', conversation_date FROM marked WHERE was_live ORDER BY conversation_id
