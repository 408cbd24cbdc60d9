-- no-transaction
-- works from: 20261129194200
-- Serves "who waits for an answer now", whenever the conversation began: the longest wait first, and how many there are, with every
-- column that the tenant's page filters by. They are then counted from the index alone. Every update of a row writes all its
-- indexes already, because the primary key includes the digests.
CREATE INDEX CONCURRENTLY IF NOT EXISTS conversations_analytics_waiting_idx
    ON conversations_analytics (tenant_id, coalesce(last_customer_message_at, conversation_created_at), conversation_id)
    INCLUDE (last_customer_message_at, conversation_created_at, inbox_id, inbox_channel_type, team_id, assignee_id)
    WHERE is_awaiting_reply AND source_deleted_at IS NULL;
