-- The conversations behind a number of a span, the newest first. The index finds them, and only those of this part are read.
-- $1 integer tenant · $2 date, $3 date the days · $4 integer inbox · $5 bigint team, 0: none · $6 integer agent, 0: nobody · $7 text channel
-- $8 text which of them · $9 integer hour · $10 integer day of the week, 0: Sunday · $11 text who handled it
-- $12 date, $13 bigint those after this one · $14 bigint how many
WITH found AS MATERIALIZED (
    SELECT conversation_date, conversation_id
    FROM conversations_analytics
    WHERE tenant_id = $1 AND conversation_date BETWEEN $2 AND least($3, $12::date) AND source_deleted_at IS NULL
      AND ($4::integer IS NULL OR inbox_id = $4)
      AND ($5::bigint IS NULL OR coalesce(team_id, 0) = $5)
      AND ($6::integer IS NULL OR coalesce(assignee_id, 0) = $6)
      AND ($7::text IS NULL OR inbox_channel_type = $7)
      AND CASE $8::text
          WHEN 'all' THEN true
          WHEN 'resolved' THEN is_resolved
          WHEN 'unresolved' THEN NOT is_resolved
          WHEN 'unanswered' THEN handled_by = 'nobody' AND contact_messages_count > 0
          WHEN 'responded' THEN coalesce(reported_first_response_seconds, first_response_time_seconds) IS NOT NULL
          WHEN 'rated' THEN csat_rating IS NOT NULL
          WHEN 'satisfied' THEN csat_rating >= 4
          WHEN 'contacts' THEN contact_id IS NOT NULL
      END
      AND ($9::integer IS NULL OR conversation_hour = $9)
      AND ($10::integer IS NULL OR extract(dow FROM conversation_date) = $10)
      AND ($11::text IS NULL OR handled_by = $11)
      AND ($12::date IS NULL OR conversation_date < $12 OR conversation_id < $13)
    ORDER BY conversation_date DESC, conversation_id DESC
    LIMIT $14
)
SELECT a.conversation_date,
       a.conversation_id, a.display_id, a.conversation_created_at, a.contact_name, a.contact_phone, a.inbox_name, a.inbox_channel_type, a.team_name,
       a.assignee_name, a.status, a.handled_by,
       coalesce(a.reported_first_response_seconds, a.first_response_time_seconds)::float8 AS response_seconds,
       a.reported_resolution_seconds::float8 AS resolution_seconds, a.csat_rating,
       CASE WHEN a.is_awaiting_reply THEN coalesce(a.last_customer_message_at, a.conversation_created_at) END AS waiting_since
FROM found JOIN conversations_analytics AS a USING (conversation_id)
WHERE a.tenant_id = $1
ORDER BY found.conversation_date DESC, conversation_id DESC
