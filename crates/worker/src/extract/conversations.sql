-- Reads conversations by key, with the rows that they refer to and their newest satisfaction answer. "digest",
-- "related", "contact", "event" and "working_hours" come from source/digest.rs, "attached" from source/tables/shape.rs.
-- $1 ids, $2 the tenant's inboxes, $3 the seed of the digests
SELECT c.id::bigint, c.display_id::integer, c.uuid::uuid, c.account_id::integer, a.name::text, c.inbox_id::integer,
       i.name::text, i.channel_type::text, i.timezone::text, c.campaign_id::bigint, c.cached_label_list::text,
       c.custom_attributes::jsonb::text, c.status::integer, c.priority::integer, c.snoozed_until::timestamp,
       c.assignee_id::integer, u.name::text, u.email::text, c.team_id::bigint, t.name::text,
       c.contact_id::bigint, k.name::text, k.email::text, k.phone_number::text, k.identifier::text,
       c.created_at::timestamp, c.updated_at::timestamp, c.last_activity_at::timestamp,
       c.first_reply_created_at::timestamp, c.waiting_since::timestamp, c.contact_last_seen_at::timestamp,
       c.agent_last_seen_at::timestamp, s.id, s.rating, s.feedback_message, s.created_at,
       {digest}, {related},
       s.assigned_agent_id, s.agent_name, s.count, c.identifier::text, c.additional_attributes::jsonb::text,
       c.sla_policy_id::bigint, p.name::text, l.sla_status::integer, g.title::text, u.display_name::text,
       k.custom_attributes::jsonb::text, k.additional_attributes::jsonb::text, k.country_code::text, k.blocked::boolean,
       k.created_at::timestamp, c.assignee_agent_bot_id::bigint, b.name::text, x.count, y.users, w.minutes, e.events,
       {contact}
FROM conversations c
LEFT JOIN accounts a ON a.id = c.account_id
LEFT JOIN inboxes i ON i.id = c.inbox_id
LEFT JOIN users u ON u.id = c.assignee_id
LEFT JOIN teams t ON t.id = c.team_id
LEFT JOIN contacts k ON k.id = c.contact_id
LEFT JOIN campaigns g ON g.id = c.campaign_id
LEFT JOIN sla_policies p ON p.id = c.sla_policy_id
LEFT JOIN agent_bots b ON b.id = c.assignee_agent_bot_id
LEFT JOIN (
    SELECT DISTINCT ON (r.conversation_id) r.conversation_id, r.id::bigint AS id, r.rating::integer AS rating,
           r.feedback_message::text AS feedback_message, r.created_at::timestamp AS created_at,
           r.assigned_agent_id::bigint AS assigned_agent_id, v.name::text AS agent_name,
           count(*) OVER (PARTITION BY r.conversation_id)::integer AS count
    FROM csat_survey_responses r
    LEFT JOIN users v ON v.id = r.assigned_agent_id
    WHERE r.conversation_id = ANY($1)
    ORDER BY r.conversation_id, r.created_at DESC, r.id DESC
) s ON s.conversation_id = c.id
LEFT JOIN (
    SELECT DISTINCT ON (l.conversation_id, l.sla_policy_id) l.conversation_id, l.sla_policy_id, l.sla_status
    FROM applied_slas l
    WHERE l.conversation_id = ANY($1)
    ORDER BY l.conversation_id, l.sla_policy_id, l.id DESC
) l ON l.conversation_id = c.id AND l.sla_policy_id = c.sla_policy_id
LEFT JOIN (
    SELECT m.conversation_id, count(*)::integer AS count
    FROM messages m {attached}
    WHERE m.conversation_id = ANY($1)
    GROUP BY 1
) x ON x.conversation_id = c.id
LEFT JOIN (
    SELECT y.conversation_id, array_agg(DISTINCT y.user_id::integer ORDER BY y.user_id::integer) AS users,
           array_agg(DISTINCT y.user_id::integer ORDER BY y.user_id::integer)::text AS text
    FROM conversation_participants y
    WHERE y.conversation_id = ANY($1)
    GROUP BY 1
) y ON y.conversation_id = c.id
LEFT JOIN ({working_hours}) w ON w.inbox_id = c.inbox_id
LEFT JOIN (
    SELECT e.conversation_id, sum({event})::text AS digest, json_agg(v)::text AS events
    FROM reporting_events e
    CROSS JOIN LATERAL (
        SELECT e.id AS event_id, e.name, e.value, e.value_in_business_hours, e.user_id, e.inbox_id,
               e.event_start_time::timestamp AS started_at, e.event_end_time::timestamp AS ended_at,
               e.created_at::timestamp AS created_at
    ) v
    WHERE e.conversation_id = ANY($1)
    GROUP BY 1
) e ON e.conversation_id = c.id
WHERE c.id = ANY($1) AND c.inbox_id = ANY($2)
ORDER BY c.id
