-- The seconds to the first response of every conversation, in no order: the program finds medians of all, of inboxes and of agents in
-- them. percentile_cont would put all in order once for each of the three, which takes the server twice as long.
-- $1 integer tenant · $2 date, $3 date the days · $4 integer inbox · $5 bigint team, 0: none · $6 integer agent, 0: nobody · $7 text channel
SELECT inbox_id, assignee_id,
       array_agg(coalesce(reported_first_response_seconds, first_response_time_seconds)::float8) AS seconds
FROM conversations_analytics
WHERE tenant_id = $1 AND conversation_date BETWEEN $2 AND $3 AND source_deleted_at IS NULL
  AND ($4::integer IS NULL OR inbox_id = $4)
  AND ($5::bigint IS NULL OR coalesce(team_id, 0) = $5)
  AND ($6::integer IS NULL OR coalesce(assignee_id, 0) = $6)
  AND ($7::text IS NULL OR inbox_channel_type = $7)
  AND coalesce(reported_first_response_seconds, first_response_time_seconds) IS NOT NULL
GROUP BY inbox_id, assignee_id
