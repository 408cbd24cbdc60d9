-- Conversations whose customer waits for an answer now, whenever they began.
-- $1 integer tenant · $2 integer inbox · $3 bigint team, 0: none · $4 integer agent, 0: nobody · $5 text channel
SELECT count(*) AS conversations, min(coalesce(last_customer_message_at, conversation_created_at)) AS since
FROM conversations_analytics
WHERE tenant_id = $1 AND is_awaiting_reply AND source_deleted_at IS NULL
  AND ($2::integer IS NULL OR inbox_id = $2)
  AND ($3::bigint IS NULL OR coalesce(team_id, 0) = $3)
  AND ($4::integer IS NULL OR coalesce(assignee_id, 0) = $4)
  AND ($5::text IS NULL OR inbox_channel_type = $5)
