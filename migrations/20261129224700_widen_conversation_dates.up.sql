-- The index that serves "conversations of a tenant's days" gets every column that the tenant's page counts and filters by. A year
-- is then read from the index alone, and not from rows that are thirty times wider. Its order is also that of the page's list.
-- Every update of a row writes all its indexes already, because the primary key includes the digests.
DROP INDEX conversations_analytics_date_idx;
CREATE INDEX conversations_analytics_date_idx ON conversations_analytics (tenant_id, conversation_date, conversation_id)
    INCLUDE (conversation_hour, inbox_id, inbox_channel_type, team_id, assignee_id, handled_by, contact_id, is_resolved, csat_rating,
             contact_messages_count, reported_first_response_seconds, first_response_time_seconds, source_deleted_at);

-- serves "who waits for an answer now", whenever the conversation began
CREATE INDEX conversations_analytics_awaiting_idx ON conversations_analytics (tenant_id, conversation_id)
    WHERE is_awaiting_reply AND source_deleted_at IS NULL;
