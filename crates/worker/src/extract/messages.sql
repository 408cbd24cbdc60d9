-- Reads the messages of some conversations, in order. "marks" and "digest" come from source/digest.rs.
-- A COPY takes no parameters, so the setting tidemark.conversations of the transaction has the conversations' ids.
SELECT m.conversation_id::bigint, m.id::bigint, m.content::text, m.sender_type::text, m.sender_id::bigint,
       m.created_at::timestamp, m.message_type::integer, m.content_type::integer, m.status::integer,
       m.private::boolean, m.sentiment::jsonb::text, m.source_id::text,
       {marks}, {digest}
FROM messages m
WHERE m.conversation_id = ANY(current_setting('tidemark.conversations')::bigint[])
ORDER BY m.conversation_id, m.created_at, m.id
