-- The median of the first response by inbox and by agent. The responses are put in order once, and the array of each group keeps the
-- order. percentile_cont would put those of each group in order by themselves, twice.
-- $1 integer tenant · $2 date, $3 date the days · $4 integer inbox · $5 bigint team, 0: none · $6 integer agent, 0: nobody · $7 text channel
WITH ordered AS MATERIALIZED (
    SELECT inbox_id, assignee_id, coalesce(reported_first_response_seconds, first_response_time_seconds)::float8 AS response
    FROM conversations_analytics
    WHERE tenant_id = $1 AND conversation_date BETWEEN $2 AND $3 AND source_deleted_at IS NULL
      AND ($4::integer IS NULL OR inbox_id = $4)
      AND ($5::bigint IS NULL OR coalesce(team_id, 0) = $5)
      AND ($6::integer IS NULL OR coalesce(assignee_id, 0) = $6)
      AND ($7::text IS NULL OR inbox_channel_type = $7)
      AND coalesce(reported_first_response_seconds, first_response_time_seconds) IS NOT NULL
    ORDER BY response
)
SELECT is_agent, id, (responses[(all_count + 1) / 2] + responses[all_count / 2 + 1]) / 2 AS median
FROM (
    SELECT grouping(inbox_id) = 1 AS is_agent, coalesce(inbox_id, assignee_id) AS id, array_agg(response) AS responses,
           count(*)::integer AS all_count
    FROM ordered
    GROUP BY GROUPING SETS ((inbox_id), (assignee_id))
) AS place
