-- Reads conversations by key, with the rows that they refer to and their newest satisfaction answer. "digest" and
-- "related" come from source/digest.rs.
-- $1 ids, $2 the tenant's inboxes, $3 the seed of the digests
SELECT c.id::bigint, c.display_id::integer, c.uuid::uuid, c.account_id::integer, a.name::text, c.inbox_id::integer,
       i.name::text, i.channel_type::text, i.timezone::text, c.campaign_id::bigint, c.cached_label_list::text,
       c.custom_attributes::jsonb::text, c.status::integer, c.priority::integer, c.snoozed_until::timestamp,
       c.assignee_id::integer, u.name::text, u.email::text, c.team_id::bigint, t.name::text,
       c.contact_id::bigint, k.name::text, k.email::text, k.phone_number::text, k.identifier::text,
       c.created_at::timestamp, c.updated_at::timestamp, c.last_activity_at::timestamp,
       c.first_reply_created_at::timestamp, c.waiting_since::timestamp, c.contact_last_seen_at::timestamp,
       c.agent_last_seen_at::timestamp, s.id, s.rating, s.feedback_message, s.created_at,
       {digest}, {related}
FROM conversations c
LEFT JOIN accounts a ON a.id = c.account_id
LEFT JOIN inboxes i ON i.id = c.inbox_id
LEFT JOIN users u ON u.id = c.assignee_id
LEFT JOIN teams t ON t.id = c.team_id
LEFT JOIN contacts k ON k.id = c.contact_id
LEFT JOIN (
    SELECT DISTINCT ON (r.conversation_id) r.conversation_id, r.id::bigint AS id, r.rating::integer AS rating,
           r.feedback_message::text AS feedback_message, r.created_at::timestamp AS created_at
    FROM csat_survey_responses r
    WHERE r.conversation_id = ANY($1)
    ORDER BY r.conversation_id, r.created_at DESC, r.id DESC
) s ON s.conversation_id = c.id
WHERE c.id = ANY($1) AND c.inbox_id = ANY($2)
ORDER BY c.id
