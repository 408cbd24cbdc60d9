-- Reads the messages of some conversations, in order. "marks" and "digest" come from source/digest.rs. "conversations" are
-- their ids: a parameter, or for a COPY, which takes none, the setting tidemark.conversations of the transaction.
SELECT m.conversation_id::bigint, m.id::bigint, m.content::text, m.sender_type::text, m.sender_id::bigint,
       m.created_at::timestamp, m.message_type::integer, m.content_type::integer, m.status::integer,
       m.private::boolean, m.sentiment::jsonb::text, m.source_id::text,
       {marks}, {digest}
FROM messages m
WHERE m.conversation_id = ANY({conversations})
ORDER BY m.conversation_id, m.created_at, m.id
