-- Counts the conversations of a range of ids and sums their digests, by bucket. A bucket is the id without its last $5
-- bits.
-- "digest", "related", "event" and "working_hours" come from source/digest.rs. Only the newest satisfaction answer counts,
-- as in the extraction. The rows are reduced to a few numbers before they are grouped: without the OFFSET, PostgreSQL may
-- sort them whole.
-- $1 to $4 range of conversations, $2 the tenant's inboxes, $3 the seed of the digests, $5 bits per bucket
SELECT bucket, count(*) AS count, sum(digest)::text AS source, sum(related)::text AS related
FROM (
    SELECT c.id::bigint >> $5 AS bucket, {digest} AS digest, {related} AS related
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
        WHERE r.conversation_id BETWEEN $1 AND $4
        ORDER BY r.conversation_id, r.created_at DESC, r.id DESC
    ) s ON s.conversation_id = c.id
    LEFT JOIN (
        SELECT DISTINCT ON (l.conversation_id, l.sla_policy_id) l.conversation_id, l.sla_policy_id, l.sla_status
        FROM applied_slas l
        WHERE l.conversation_id BETWEEN $1 AND $4
        ORDER BY l.conversation_id, l.sla_policy_id, l.id DESC
    ) l ON l.conversation_id = c.id AND l.sla_policy_id = c.sla_policy_id
    LEFT JOIN (
        SELECT m.conversation_id, count(*)::integer AS count
        FROM attachments x JOIN messages m ON m.id = x.message_id
        WHERE m.conversation_id BETWEEN $1 AND $4
        GROUP BY 1
    ) x ON x.conversation_id = c.id
    LEFT JOIN (
        SELECT y.conversation_id, array_agg(DISTINCT y.user_id::integer ORDER BY y.user_id::integer) AS users,
               array_agg(DISTINCT y.user_id::integer ORDER BY y.user_id::integer)::text AS text
        FROM conversation_participants y
        WHERE y.conversation_id BETWEEN $1 AND $4
        GROUP BY 1
    ) y ON y.conversation_id = c.id
    LEFT JOIN ({working_hours}) w ON w.inbox_id = c.inbox_id
    LEFT JOIN (
        SELECT e.conversation_id, sum({event})::text AS digest
        FROM reporting_events e
        WHERE e.conversation_id BETWEEN $1 AND $4
        GROUP BY 1
    ) e ON e.conversation_id = c.id
    WHERE c.id BETWEEN $1 AND $4 AND c.inbox_id = ANY($2)
    OFFSET 0
) r
GROUP BY 1
ORDER BY 1
