-- Messages of these conversations, each conversation's in order. {digest} comes from shared/source/digest.rs.
-- $1 ids of conversations
SELECT m.conversation_id::bigint, m.id::bigint, m.content::text, m.sender_type::text, m.sender_id::bigint,
       m.created_at::timestamp, m.message_type, m.content_type, m.status, m.private, m.sentiment::text, m.source_id::text,
       {digest}
FROM messages m
WHERE m.conversation_id = ANY($1)
ORDER BY m.conversation_id, m.created_at, m.id
