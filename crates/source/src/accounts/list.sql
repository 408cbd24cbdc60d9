-- Every account with its inboxes, each with its conversations and newest activity. An inbox that was deleted and left
-- conversations behind has no name. Years that no calendar has do not count as activity.
-- Ids beyond 32 bits are left out: their conversations cannot be synced.
WITH counted AS (
    SELECT c.account_id, c.inbox_id, count(*) AS conversations,
           max(c.last_activity_at::timestamptz)
               FILTER (WHERE isfinite(c.last_activity_at) AND c.last_activity_at < '9999-01-01') AS newest
    FROM conversations c GROUP BY c.account_id, c.inbox_id
), owned AS (
    SELECT i.account_id, i.id AS inbox_id, i.name::text AS name, i.channel_type::text AS channel_type FROM inboxes i
)
SELECT coalesce(o.account_id, c.account_id, a.id)::integer AS account_id, a.name::text AS account_name,
       coalesce(o.inbox_id, c.inbox_id)::integer AS inbox_id, o.name AS inbox_name, o.channel_type,
       coalesce(c.conversations, 0) AS conversations, c.newest
FROM owned o
FULL JOIN counted c ON c.inbox_id = o.inbox_id
FULL JOIN accounts a ON a.id = coalesce(o.account_id, c.account_id)
WHERE coalesce(o.account_id, c.account_id, a.id) <= 2147483647 AND coalesce(o.inbox_id, c.inbox_id, 0) <= 2147483647
ORDER BY 1, 3
