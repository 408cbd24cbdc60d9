-- The newest conversation of an inbox, a team, an agent or a channel; without any of them, of the tenant.
-- $1 integer tenant · $2 integer inbox · $3 bigint team · $4 integer agent · $5 text channel
SELECT conversation_id
FROM conversations_analytics
WHERE tenant_id = $1 AND conversation_date IS NOT NULL AND source_deleted_at IS NULL
  AND ($2::integer IS NULL OR inbox_id = $2)
  AND ($3::bigint IS NULL OR team_id = $3)
  AND ($4::integer IS NULL OR assignee_id = $4)
  AND ($5::text IS NULL OR inbox_channel_type = $5)
ORDER BY conversation_date DESC
LIMIT 1
