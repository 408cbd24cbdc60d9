-- no-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS conversations_analytics_awaiting_idx
    ON conversations_analytics (tenant_id, conversation_id) WHERE is_awaiting_reply AND source_deleted_at IS NULL;
