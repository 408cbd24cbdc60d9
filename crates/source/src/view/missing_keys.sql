-- Which keys no message of the newest conversations has, and how many messages were looked at. An outer join shows no
-- message as one whose id is NULL. {view} is the view's name.
-- $1 keys, $2 how many conversations
WITH newest AS MATERIALIZED (
    -- no other column is named, so that the planner drops the joins
    SELECT v.conversation_id AS id FROM {view} v ORDER BY v.conversation_id DESC LIMIT $2
), shown AS MATERIALIZED (
    SELECT m.message
    FROM newest
    CROSS JOIN LATERAL (
        SELECT to_jsonb(v.message_compiled) AS compiled FROM {view} v WHERE v.conversation_id = newest.id LIMIT 1
    ) c
    CROSS JOIN LATERAL jsonb_path_query(c.compiled, 'lax $[*]') AS m (message)
    WHERE m.message ->> 'message_id' IS NOT NULL
)
SELECT (SELECT count(*) FROM shown),
       ARRAY(SELECT k.key FROM unnest($1::text[]) WITH ORDINALITY AS k (key, position)
             WHERE NOT EXISTS (SELECT FROM shown WHERE message ? k.key) ORDER BY k.position)
