-- A message of an agent, as Chatwoot writes it: its conversation and its contact move too.
-- $1 the conversation, $2 the text, $3 how many seconds ago
WITH at AS (
    SELECT clock_timestamp() AT TIME ZONE 'UTC' - make_interval(secs => $3) AS now),
message AS (
    INSERT INTO messages (content, account_id, inbox_id, conversation_id, message_type, content_type, private,
                          sender_type, sender_id, created_at, updated_at)
    SELECT $2, c.account_id, c.inbox_id, c.id, 1, 0, false, 'User', 1, at.now, at.now
    FROM conversations c, at WHERE c.id = $1),
contact AS (
    UPDATE contacts k SET last_activity_at = at.now, updated_at = at.now
    FROM conversations c, at WHERE c.id = $1 AND k.id = c.contact_id)
UPDATE conversations c SET last_activity_at = at.now, updated_at = at.now FROM at WHERE c.id = $1
