-- Senders of whom one of two messages has another sender now: whoever deletes an agent, a bot or an assistant in Chatwoot leaves
-- its messages without one. A message that is not to be seen says nothing, whether it was deleted or is only hidden. Messages
-- are looked up by their primary key.
-- $1 types, $2 ids of senders, and for each: $3 its first message, $4 its last
SELECT s.position::integer - 1
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
     WITH ORDINALITY AS s (sender_type, sender_id, first_message_id, last_message_id, position)
WHERE EXISTS (
    SELECT FROM (
        SELECT m.sender_type::text AS sender_type, m.sender_id::bigint AS sender_id
        FROM messages m
        WHERE m.id = ANY(ARRAY[s.first_message_id, s.last_message_id])
        OFFSET 0
    ) m
    WHERE (m.sender_type, m.sender_id) IS DISTINCT FROM (s.sender_type, s.sender_id)
)
ORDER BY 1
