-- Keys that no message of some conversations has, and the number of messages checked: of the conversations $3, or of the
-- newest ones of the view. Those need a pass over the view.
-- An outer join shows a conversation without messages as one message whose id is NULL.
-- The program replaces vw_conversations_analytics_final by the name of the source's view.
-- $1 keys (text[]), $2 number of newest conversations, $3 conversations (bigint[]), or NULL
WITH checked AS MATERIALIZED (
    SELECT id FROM unnest($3::bigint[]) AS given (id)
    UNION ALL
    -- no other column is named, so that the planner drops the joins
    (SELECT v.conversation_id FROM vw_conversations_analytics_final v WHERE $3::bigint[] IS NULL
     ORDER BY v.conversation_id DESC LIMIT $2)
), shown AS MATERIALIZED (
    SELECT m.message
    FROM checked
    CROSS JOIN LATERAL (
        SELECT to_jsonb(v.message_compiled) AS compiled
        FROM vw_conversations_analytics_final v
        WHERE v.conversation_id = checked.id
        LIMIT 1
    ) c
    CROSS JOIN LATERAL jsonb_path_query(c.compiled, 'lax $[*]') AS m (message)
    WHERE m.message ->> 'message_id' IS NOT NULL
)
SELECT (SELECT count(*) FROM shown),
       ARRAY(SELECT k.key FROM unnest($1::text[]) WITH ORDINALITY AS k (key, position)
             WHERE NOT EXISTS (SELECT FROM shown WHERE message ? k.key) ORDER BY k.position)
