WITH expected AS (
    SELECT tenant_id, conversation_date, coalesce(inbox_id, 0) AS inbox_id, coalesce(assignee_id, 0) AS assignee_id,
           max(inbox_name::text) AS inbox_name, max(assignee_name::text) AS assignee_name, count(*)::integer AS conversation_count,
           sum(is_open::integer)::integer AS open_count, sum(is_resolved::integer)::integer AS resolved_count,
           sum((coalesce(reopened_count, 0) > 0)::integer)::integer AS reopened_count,
           sum(coalesce(is_awaiting_reply, false)::integer)::integer AS awaiting_reply_count,
           sum((handled_by IS NOT DISTINCT FROM 'bot')::integer)::integer AS bot_count,
           sum((first_response_time_seconds IS NOT NULL)::integer)::integer AS first_response_count,
           sum(coalesce(first_response_time_seconds, 0))::bigint AS first_response_seconds,
           sum((reported_resolution_seconds IS NOT NULL)::integer)::integer AS resolution_count,
           round(sum(coalesce(reported_resolution_seconds, 0)))::bigint AS resolution_seconds,
           sum((csat_rating IS NOT NULL)::integer)::integer AS csat_count, sum(coalesce(csat_rating, 0))::bigint AS csat_rating_sum,
           sum((coalesce(csat_rating, 0) > 3)::integer)::integer AS csat_positive_count,
           sum(total_messages_public)::bigint AS message_count, sum(contact_messages_count)::bigint AS customer_message_count,
           sum(coalesce(agent_messages_count, 0))::bigint AS agent_message_count
    FROM conversations_analytics_live WHERE conversation_date IS NOT NULL GROUP BY 1, 2, 3, 4
)
SELECT (SELECT count(*) FROM (SELECT * FROM expected EXCEPT SELECT * FROM conversation_daily) a)
     + (SELECT count(*) FROM (SELECT * FROM conversation_daily EXCEPT SELECT * FROM expected) b) AS different,
       (SELECT count(*) FROM expected) AS days
