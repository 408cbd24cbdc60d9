-- What a tenant's page counts over a span of days, in one pass: by day and hour, and by place. Everything else is a sum of these.
-- $1 integer tenant · $2 date, $3 date the days · $4 integer inbox · $5 bigint team, 0: none · $6 integer agent, 0: nobody · $7 text channel
SELECT grouping(conversation_date) = 0 AS is_by_time,
       conversation_date, conversation_hour, inbox_id, inbox_channel_type, team_id, assignee_id, handled_by,
       count(*) AS conversations,
       count(*) FILTER (WHERE is_resolved) AS resolved,
       count(*) FILTER (WHERE handled_by = 'nobody' AND contact_messages_count > 0) AS unanswered,
       count(csat_rating) AS ratings,
       coalesce(sum(csat_rating), 0) AS rating_sum,
       count(*) FILTER (WHERE csat_rating >= 4) AS satisfied,
       count(coalesce(reported_first_response_seconds, first_response_time_seconds)) AS responses,
       count(first_response_time_seconds) FILTER (WHERE reported_first_response_seconds IS NULL) AS estimated_responses,
       max(conversation_id) AS newest_id
FROM conversations_analytics
WHERE tenant_id = $1 AND conversation_date BETWEEN $2 AND $3 AND source_deleted_at IS NULL
  AND ($4::integer IS NULL OR inbox_id = $4)
  AND ($5::bigint IS NULL OR coalesce(team_id, 0) = $5)
  AND ($6::integer IS NULL OR coalesce(assignee_id, 0) = $6)
  AND ($7::text IS NULL OR inbox_channel_type = $7)
GROUP BY GROUPING SETS ((conversation_date, conversation_hour),
                        (inbox_id, inbox_channel_type, team_id, assignee_id, handled_by))
