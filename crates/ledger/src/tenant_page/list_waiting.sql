-- The conversations whose customer waits for an answer now, the longest wait first.
-- $1 integer tenant · $2 integer inbox · $3 bigint team, 0: none · $4 integer agent, 0: nobody · $5 text channel
-- $6 timestamptz, $7 bigint those after this one · $8 bigint how many
SELECT a.conversation_date,
       a.conversation_id, a.display_id, a.conversation_created_at, a.contact_name, a.contact_phone, a.inbox_name, a.inbox_channel_type, a.team_name,
       a.assignee_name, a.status, a.handled_by,
       coalesce(a.reported_first_response_seconds, a.first_response_time_seconds)::float8 AS response_seconds,
       a.reported_resolution_seconds::float8 AS resolution_seconds, a.csat_rating,
       CASE WHEN a.is_awaiting_reply THEN coalesce(a.last_customer_message_at, a.conversation_created_at) END AS waiting_since
FROM conversations_analytics AS a
WHERE a.tenant_id = $1 AND a.is_awaiting_reply AND a.source_deleted_at IS NULL
  AND ($2::integer IS NULL OR a.inbox_id = $2)
  AND ($3::bigint IS NULL OR coalesce(a.team_id, 0) = $3)
  AND ($4::integer IS NULL OR coalesce(a.assignee_id, 0) = $4)
  AND ($5::text IS NULL OR a.inbox_channel_type = $5)
  AND ($6::timestamptz IS NULL
       OR (coalesce(a.last_customer_message_at, a.conversation_created_at), a.conversation_id) > ($6, $7))
ORDER BY coalesce(a.last_customer_message_at, a.conversation_created_at), a.conversation_id
LIMIT $8
