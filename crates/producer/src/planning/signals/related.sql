-- Conversations with reporting events, states of an SLA or participants that were written since. The kind names the signal.
-- $1 inboxes, and for each: $2 its tenant, $3 since; $4 the earliest of these, $5 only this conversation, or NULL, $6 the
-- latest time of interest: later times are cut to it, $7 and $8 rows that are older than this age and not later than this time
-- are covered (NULL: none is). {age_of_event} stands for age(e.xmin), and so on
SELECT r.kind, m.tenant_id, c.id::bigint AS id, min(r.age) AS age, max(least(r.at, $6)) AS changed_at
FROM (
    SELECT 'events' AS kind, e.conversation_id, e.created_at::timestamp AS at, {age_of_event} AS age
    FROM reporting_events e WHERE e.created_at >= $4
      AND ($7::integer IS NULL OR {age_of_event} <= $7 OR e.created_at > $8)
    UNION ALL
    SELECT 'slas', l.conversation_id, l.updated_at::timestamp, {age_of_sla}
    FROM applied_slas l WHERE l.updated_at >= $4
      AND ($7::integer IS NULL OR {age_of_sla} <= $7 OR l.updated_at > $8)
    UNION ALL
    SELECT 'participants', y.conversation_id, y.updated_at::timestamp, {age_of_participant}
    FROM conversation_participants y WHERE y.updated_at >= $4
      AND ($7::integer IS NULL OR {age_of_participant} <= $7 OR y.updated_at > $8)
) r
JOIN conversations c ON c.id = r.conversation_id
JOIN unnest($1::integer[], $2::integer[], $3::timestamp[]) AS m (inbox_id, tenant_id, since) ON m.inbox_id = c.inbox_id
WHERE r.at >= m.since AND ($5::bigint IS NULL OR c.id = $5)
GROUP BY 1, 2, 3
