-- no-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS conversations_analytics_date_idx ON conversations_analytics (tenant_id, conversation_date);
