-- Sums of a tenant's live conversations by day, inbox and agent. A condition on days may follow in the place of {days}.
-- $1 tenant, $2 days
INSERT INTO conversation_daily
    (tenant_id, conversation_date, inbox_id, assignee_id, inbox_name, assignee_name, conversation_count, open_count, resolved_count,
     reopened_count, awaiting_reply_count, bot_count, first_response_count, first_response_seconds, resolution_count,
     resolution_seconds, csat_count, csat_rating_sum, csat_positive_count, message_count, customer_message_count,
     agent_message_count)
SELECT tenant_id, conversation_date, coalesce(inbox_id, 0), coalesce(assignee_id, 0), max(inbox_name), max(assignee_name),
       count(*), count(*) FILTER (WHERE is_open), count(*) FILTER (WHERE is_resolved),
       count(*) FILTER (WHERE reopened_count > 0), count(*) FILTER (WHERE is_awaiting_reply),
       count(*) FILTER (WHERE handled_by = 'bot'),
       count(first_response_time_seconds), coalesce(sum(first_response_time_seconds), 0),
       count(reported_resolution_seconds), coalesce(round(sum(reported_resolution_seconds)), 0)::bigint,
       count(csat_rating), coalesce(sum(csat_rating), 0), count(*) FILTER (WHERE csat_rating >= 4),
       coalesce(sum(total_messages_public), 0), coalesce(sum(contact_messages_count), 0), coalesce(sum(agent_messages_count), 0)
FROM conversations_analytics
WHERE tenant_id = $1 AND source_deleted_at IS NULL AND conversation_date IS NOT NULL
