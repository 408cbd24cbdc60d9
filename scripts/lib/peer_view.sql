-- The view that the tools read: the sample's view, with the aggregates that analytics views over Chatwoot add. Each sub-view
-- goes over every message of the installation; so one look at the whole view costs what it costs where such views are in use.

CREATE VIEW peer_message_counts AS
SELECT m.conversation_id,
       count(*) AS messages_count,
       count(*) FILTER (WHERE m.sender_type = 'Contact') AS contact_messages_count,
       count(*) FILTER (WHERE m.sender_type = 'User') AS agent_messages_count,
       count(*) FILTER (WHERE m.sender_type = 'AgentBot') AS bot_messages_count,
       count(*) FILTER (WHERE m.private) AS private_notes_count,
       min(m.created_at) AS first_message_at,
       max(m.created_at) AS last_message_at,
       avg(length(m.content)) AS average_length,
       count(DISTINCT m.sender_id) FILTER (WHERE m.sender_type = 'User') AS agents_count
FROM messages m
GROUP BY m.conversation_id;

CREATE VIEW peer_first_and_last AS
SELECT m.conversation_id,
       (array_agg(m.content ORDER BY m.created_at, m.id) FILTER (WHERE m.sender_type = 'Contact'))[1] AS first_text,
       (array_agg(m.content ORDER BY m.created_at DESC, m.id DESC))[1] AS last_text,
       (array_agg(m.sender_type ORDER BY m.created_at DESC, m.id DESC))[1] AS last_sender
FROM messages m
WHERE NOT m.private
GROUP BY m.conversation_id;

CREATE VIEW peer_response_times AS
SELECT w.conversation_id,
       avg(w.waited) FILTER (WHERE w.sender_type = 'User') AS average_response_seconds,
       max(w.waited) FILTER (WHERE w.sender_type = 'User') AS longest_response_seconds,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY w.waited) AS median_gap_seconds
FROM (
    SELECT m.conversation_id, m.sender_type,
           extract(epoch FROM m.created_at - lag(m.created_at) OVER (PARTITION BY m.conversation_id ORDER BY m.created_at, m.id))
               AS waited
    FROM messages m
    WHERE NOT m.private
) w
GROUP BY w.conversation_id;

CREATE VIEW peer_wide AS
SELECT v.*,
       n.messages_count, n.contact_messages_count, n.agent_messages_count, n.bot_messages_count, n.private_notes_count,
       n.first_message_at, n.last_message_at, n.average_length, n.agents_count,
       f.first_text, f.last_text, f.last_sender,
       r.average_response_seconds, r.longest_response_seconds, r.median_gap_seconds
FROM vw_conversations_analytics_final v
LEFT JOIN peer_message_counts n USING (conversation_id)
LEFT JOIN peer_first_and_last f USING (conversation_id)
LEFT JOIN peer_response_times r USING (conversation_id);
