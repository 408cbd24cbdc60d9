-- Positions of deleted senders in the arrays. A sender counts as deleted when one of its two messages has another sender now:
-- Chatwoot removes the sender from the messages of a deleted agent, bot or assistant. A message that cannot be seen shows
-- nothing: it may be deleted or only hidden. Messages are found by their primary key.
-- $1 types and $2 ids of senders, and for each: $3 its first message, $4 its last
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
