-- Records senders with the first and last message of theirs that was read. A row without news is not written.
-- $1 tenant, and for each sender: $2 type, $3 id, $4 first message, $5 last message
INSERT INTO etl_sender AS k (tenant_id, sender_type, sender_id, first_message_id, last_message_id)
SELECT $1, n.sender_type, n.sender_id, n.first_message_id, n.last_message_id
FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
     AS n (sender_type, sender_id, first_message_id, last_message_id)
ORDER BY n.sender_type, n.sender_id
ON CONFLICT (tenant_id, sender_type, sender_id) DO UPDATE
SET first_message_id = least(k.first_message_id, excluded.first_message_id),
    last_message_id = greatest(k.last_message_id, excluded.last_message_id)
WHERE excluded.first_message_id < k.first_message_id OR excluded.last_message_id > k.last_message_id
