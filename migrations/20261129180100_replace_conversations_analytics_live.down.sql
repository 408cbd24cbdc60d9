-- A view cannot lose columns by CREATE OR REPLACE.
DROP VIEW conversations_analytics_live;
DO $migration$
DECLARE
    definition text := $view$
SELECT
    a.tenant_id,
    a.conversation_id,
    a.display_id,
    a.conversation_uuid,
    a.account_id,
    a.account_name,
    a.inbox_id,
    a.inbox_name,
    a.inbox_channel_type,
    a.inbox_timezone,
    a.campaign_id,
    a.labels,
    a.conversation_custom_attributes,
    a.status,
    a.status_label_pt,
    a.is_resolved,
    a.is_open,
    a.is_pending,
    a.is_snoozed,
    a.priority,
    a.priority_label,
    a.priority_score,
    a.has_priority,
    a.is_high_priority,
    a.snoozed_until,
    a.assignee_id,
    a.assignee_name,
    a.assignee_email,
    a.team_id,
    a.team_name,
    a.is_assigned,
    a.has_team,
    a.has_contact,
    a.is_from_campaign,
    a.contact_id,
    a.contact_name,
    a.contact_email,
    a.contact_identifier,
    a.client_sender_id,
    a.client_phone,
    a.contact_phone,
    a.conversation_created_at,
    a.conversation_updated_at,
    a.last_activity_at,
    a.first_reply_created_at,
    a.waiting_since,
    a.contact_last_seen_at,
    a.agent_last_seen_at,
    a.first_response_time_seconds,
    a.first_response_time_minutes,
    a.resolution_time_seconds,
    a.is_fast_response,
    a.is_slow_response,
    a.is_fast_resolution,
    a.is_waiting,
    a.contact_has_seen,
    a.agent_has_seen,
    a.message_compiled,
    a.t_messages,
    a.total_messages_public,
    a.total_messages_private,
    a.user_messages_count,
    a.contact_messages_count,
    a.system_messages_count,
    a.private_notes_count,
    a.mc_first_message_at,
    a.mc_last_message_at,
    a.first_message_text,
    a.last_message_text,
    a.first_message_sender_type,
    a.last_message_sender_type,
    a.conversation_duration_seconds,
    a.avg_time_between_messages_seconds,
    a.avg_message_length,
    a.max_message_length,
    a.has_user_messages,
    a.has_contact_messages,
    a.has_private_notes,
    a.has_contact_reply,
    a.is_short_conversation,
    a.is_long_conversation,
    a.user_message_ratio,
    a.contact_message_ratio,
    a.has_human_intervention,
    a.is_bot_resolved,
    a.csat_response_id,
    a.csat_rating,
    a.csat_feedback,
    a.csat_created_at,
    a.csat_nps_category,
    a.csat_sentiment_category,
    a.has_csat,
    a.has_written_feedback,
    a.has_detailed_feedback,
    a.conversation_date,
    a.conversation_year,
    a.conversation_month,
    a.conversation_day,
    a.conversation_hour,
    a.conversation_minute,
    a.conversation_quarter,
    a.conversation_day_of_week,
    a.conversation_week_of_year,
    a.conversation_day_name,
    a.conversation_month_name,
    a.conversation_period,
    a.is_weekday,
    a.is_weekend,
    a.is_business_hours,
    a.is_night_time,
    a.conversation_date_formatted,
    a.conversation_datetime_formatted,
    a.conversation_year_month,
    a.conversation_year_week,
    a.etl_run_id,
    a.etl_inserted_at,
    a.etl_updated_at,
    a.source_extracted_at,
    a.row_hash,
    a.source_deleted_at,
    CASE
        WHEN round(present.waiting_seconds) BETWEEN -2147483648 AND 2147483647
        THEN round(present.waiting_seconds)::int
    END AS waiting_time_seconds,
    coalesce(present.waiting_seconds > 3600, false) AS is_waiting_long,
    present.today - a.conversation_date AS days_since_creation,
    a.conversation_date = present.today AS is_today,
    a.conversation_date = present.today - 1 AS is_yesterday,
    date_trunc('week', a.conversation_date::timestamp) = date_trunc('week', present.today::timestamp) AS is_this_week,
    date_trunc('month', a.conversation_date::timestamp) = date_trunc('month', present.today::timestamp) AS is_this_month,
    date_trunc('year', a.conversation_date::timestamp) = date_trunc('year', present.today::timestamp) AS is_this_year
FROM conversations_analytics AS a
JOIN tenants AS t ON t.id = a.tenant_id
CROSS JOIN LATERAL (
    SELECT
        (now() AT TIME ZONE t.timezone)::date AS today,
        -- Of epochs, because infinity cannot be subtracted.
        CASE
            WHEN isfinite(a.waiting_since)
            THEN (extract(epoch FROM now()) - extract(epoch FROM a.waiting_since))::numeric
        END AS waiting_seconds
) AS present
WHERE a.source_deleted_at IS NULL
$view$;
BEGIN
    IF current_setting('server_version_num')::integer >= 150000 THEN
        EXECUTE 'CREATE VIEW conversations_analytics_live WITH (security_invoker = true) AS' || definition;
    ELSE
        EXECUTE 'CREATE VIEW conversations_analytics_live WITH (security_barrier = true) AS' || definition
            || ' AND (a.tenant_id = app_current_tenant_id() OR pg_has_role(current_user, ''admin_users'', ''MEMBER''))';
    END IF;
END
$migration$;

GRANT SELECT ON conversations_analytics_live TO etl_service, authenticated_users, admin_users;
