-- One conversation with its messages: the only statement of a tenant's page that reads them.
-- $1 integer tenant · $2 bigint conversation
SELECT a.conversation_date,
       a.conversation_id, a.display_id, a.conversation_created_at, a.contact_name, a.contact_phone, a.inbox_name, a.inbox_channel_type, a.team_name,
       a.assignee_name, a.status, a.handled_by,
       coalesce(a.reported_first_response_seconds, a.first_response_time_seconds)::float8 AS response_seconds,
       a.reported_resolution_seconds::float8 AS resolution_seconds, a.csat_rating,
       CASE WHEN a.is_awaiting_reply THEN coalesce(a.last_customer_message_at, a.conversation_created_at) END AS waiting_since,
       a.contact_email, a.labels, a.csat_feedback, a.resolved_at, a.reopened_count, a.message_compiled
FROM conversations_analytics AS a
WHERE a.tenant_id = $1 AND a.conversation_id = $2 AND a.source_deleted_at IS NULL
