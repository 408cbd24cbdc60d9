-- The analytics view as installations publish it, with the same cost: the sub-views aggregate every message of the
-- installation. A conversation with two survey responses has two rows.

CREATE VIEW vw_message_compiled AS
SELECT m.conversation_id,
       jsonb_agg(
           jsonb_build_object(
               'message_id', m.id,
               'text', m.content,
               'sender', m.sender_type,
               'sender_id', m.sender_id,
               'sent_at', m.created_at,
               'message_type', m.message_type,
               'content_type', m.content_type,
               'status', m.status,
               'private', m.private,
               'sentiment', m.sentiment,
               'source_id', m.source_id
           )
           ORDER BY m.created_at, m.id
       ) AS message_compiled
FROM messages m
GROUP BY m.conversation_id;

CREATE VIEW vw_client_sender AS
SELECT m.conversation_id,
       (array_agg(m.sender_id ORDER BY m.created_at, m.id))[1] AS client_sender_id
FROM messages m
WHERE m.sender_type = 'Contact'
GROUP BY m.conversation_id;

CREATE VIEW vw_conversations_analytics_final AS
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
       co.name AS contact_name,
       co.email AS contact_email,
       co.phone_number AS contact_phone,
       co.identifier AS contact_identifier,
       c.created_at AS conversation_created_at,
       c.updated_at AS conversation_updated_at,
       c.last_activity_at,
       c.first_reply_created_at,
       c.waiting_since,
       c.contact_last_seen_at,
       c.agent_last_seen_at,
       c.cached_label_list,
       c.custom_attributes AS conversation_custom_attributes,
       cs.client_sender_id,
       client.phone_number AS client_phone,
       mc.message_compiled,
       r.id AS csat_response_id,
       r.rating AS csat_rating,
       r.feedback_message AS csat_feedback,
       r.created_at AS csat_created_at
FROM conversations c
LEFT JOIN accounts a ON a.id = c.account_id
LEFT JOIN inboxes i ON i.id = c.inbox_id
LEFT JOIN users u ON u.id = c.assignee_id
LEFT JOIN teams t ON t.id = c.team_id
LEFT JOIN contacts co ON co.id = c.contact_id
LEFT JOIN vw_message_compiled mc ON mc.conversation_id = c.id
LEFT JOIN vw_client_sender cs ON cs.conversation_id = c.id
LEFT JOIN contacts client ON client.id = cs.client_sender_id
LEFT JOIN csat_survey_responses r ON r.conversation_id = c.id;
