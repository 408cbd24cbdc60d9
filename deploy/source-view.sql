-- A view over Chatwoot's tables with every column that Tidemark reads, for a login that may read a view and no table. Run it
-- as the owner of the tables, once and after each upgrade of Chatwoot:
--   psql -v ON_ERROR_STOP=1 -v reader=LOGIN -d CHATWOOT -f deploy/source-view.sql
-- It is for Chatwoot 4.8 and newer. For an earlier version delete the lines with columns that it does not have: doctor names
-- them. Each sub-select reads rows of one conversation: a query for a few conversations reads no others.
BEGIN;
CREATE OR REPLACE VIEW vw_tidemark AS
SELECT c.id AS conversation_id,
       c.display_id,
       c.uuid AS conversation_uuid,
       c.account_id,
       a.name AS account_name,
       c.inbox_id,
       i.name AS inbox_name,
       i.channel_type AS inbox_channel_type,
       i.timezone AS inbox_timezone,
       c.status,
       c.priority,
       c.snoozed_until,
       c.assignee_id,
       u.name AS assignee_name,
       u.email AS assignee_email,
       c.team_id,
       t.name AS team_name,
       c.campaign_id,
       c.contact_id,
       k.name AS contact_name,
       k.email AS contact_email,
       k.phone_number AS contact_phone,
       k.identifier AS contact_identifier,
       c.created_at AS conversation_created_at,
       c.updated_at AS conversation_updated_at,
       c.last_activity_at,
       c.first_reply_created_at,
       c.waiting_since,
       c.contact_last_seen_at,
       c.agent_last_seen_at,
       c.cached_label_list,
       c.custom_attributes AS conversation_custom_attributes,
       -- with ORDER BY … LIMIT 1 PostgreSQL may walk through all messages by their time
       (SELECT (array_agg(m.sender_id ORDER BY m.created_at, m.id))[1]
        FROM messages m WHERE m.conversation_id = c.id AND m.sender_type = 'Contact') AS client_sender_id,
       (SELECT n.phone_number FROM contacts n WHERE n.id = (
            SELECT (array_agg(m.sender_id ORDER BY m.created_at, m.id))[1]
            FROM messages m WHERE m.conversation_id = c.id AND m.sender_type = 'Contact')) AS client_phone,
       (SELECT jsonb_agg(jsonb_build_object(
                   'message_id', m.id, 'text', m.content, 'sender', m.sender_type, 'sender_id', m.sender_id,
                   'sent_at', m.created_at, 'message_type', m.message_type, 'content_type', m.content_type,
                   'status', m.status, 'private', m.private, 'source_id', m.source_id,
                   'sentiment', m.sentiment,
                   'content_attributes', m.content_attributes
               ) ORDER BY m.created_at, m.id)
        FROM messages m WHERE m.conversation_id = c.id) AS message_compiled,
       r.id AS csat_response_id,
       r.rating AS csat_rating,
       r.feedback_message AS csat_feedback,
       r.created_at AS csat_created_at,
       r.assigned_agent_id AS csat_assigned_agent_id,
       (SELECT v.name FROM users v WHERE v.id = r.assigned_agent_id) AS csat_assigned_agent_name,
       (SELECT count(*) FROM csat_survey_responses s WHERE s.conversation_id = c.id) AS csat_responses_count,
       c.identifier AS conversation_identifier,
       c.additional_attributes AS conversation_additional_attributes,
       c.sla_policy_id,
       (SELECT p.name FROM sla_policies p WHERE p.id = c.sla_policy_id) AS sla_policy_name,
       (SELECT l.sla_status FROM applied_slas l WHERE l.conversation_id = c.id AND l.sla_policy_id = c.sla_policy_id
        ORDER BY l.id DESC LIMIT 1) AS sla_status,
       (SELECT g.title FROM campaigns g WHERE g.id = c.campaign_id) AS campaign_title,
       u.display_name AS assignee_display_name,
       k.custom_attributes AS contact_custom_attributes,
       k.additional_attributes AS contact_additional_attributes,
       k.country_code AS contact_country_code,
       k.blocked AS contact_blocked,
       c.assignee_agent_bot_id,
       (SELECT b.name FROM agent_bots b WHERE b.id = c.assignee_agent_bot_id) AS assignee_agent_bot_name,
       (SELECT coalesce(sum((SELECT count(*) FROM attachments x WHERE x.message_id = m.id)), 0)::integer
        FROM messages m WHERE m.conversation_id = c.id) AS attachments_count,
       (SELECT array_agg(y.user_id ORDER BY y.user_id) FROM conversation_participants y WHERE y.conversation_id = c.id)
           AS participants,
       -- for each day from Sunday on the first and the last minute of work; NULL for a closed day
       (SELECT array_agg(CASE
                   WHEN coalesce(h.closed_all_day, false) THEN NULL
                   WHEN coalesce(h.open_all_day, false) THEN bound * 1440
                   WHEN bound = 0 THEN h.open_hour * 60 + coalesce(h.open_minutes, 0)
                   ELSE h.close_hour * 60 + coalesce(h.close_minutes, 0)
               END ORDER BY day, bound)
        FROM generate_series(0, 6) AS day CROSS JOIN generate_series(0, 1) AS bound
        LEFT JOIN LATERAL (SELECT * FROM working_hours w WHERE w.inbox_id = c.inbox_id AND w.day_of_week = day
                           ORDER BY w.id LIMIT 1) h ON true
        WHERE i.working_hours_enabled) AS inbox_working_hours,
       (SELECT jsonb_agg(jsonb_build_object(
                   'event_id', e.id, 'name', e.name, 'value', e.value,
                   'value_in_business_hours', e.value_in_business_hours, 'user_id', e.user_id, 'inbox_id', e.inbox_id,
                   'started_at', e.event_start_time, 'ended_at', e.event_end_time, 'created_at', e.created_at
               ) ORDER BY e.created_at, e.id)
        FROM reporting_events e WHERE e.conversation_id = c.id) AS events_compiled,
       k.created_at AS contact_created_at
FROM conversations c
LEFT JOIN accounts a ON a.id = c.account_id
LEFT JOIN inboxes i ON i.id = c.inbox_id
LEFT JOIN users u ON u.id = c.assignee_id
LEFT JOIN teams t ON t.id = c.team_id
LEFT JOIN contacts k ON k.id = c.contact_id
LEFT JOIN csat_survey_responses r ON r.conversation_id = c.id;
GRANT SELECT ON vw_tidemark TO :"reader";
COMMIT;
