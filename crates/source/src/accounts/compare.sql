-- Compares the inboxes of a group of tenants with those of their Chatwoot accounts: accounts that are known only by their
-- inboxes, inboxes of all these accounts that none of the tenants has, and inboxes of the tenants that the source no longer
-- has. Where it shows no inbox at all, none counts as gone. Ids beyond 32 bits cannot be mapped and are left out.
-- $1 accounts, $2 the tenants' inboxes, and for each: $3 whether its tenant was added without an account
WITH mapped AS (
    SELECT m.id, bool_or(m.names_account) AS names_account
    FROM unnest($2::integer[], $3::boolean[]) AS m (id, names_account) GROUP BY m.id
), account AS (
    SELECT a.id, NULL::integer AS known_by FROM unnest($1::integer[]) AS a (id)
    UNION ALL
    SELECT i.account_id::integer, min(i.id)::integer
    FROM inboxes i JOIN mapped m ON m.id = i.id AND m.names_account
    WHERE i.account_id <= 2147483647 AND NOT EXISTS (SELECT FROM unnest($1::integer[]) AS a (id) WHERE a.id = i.account_id)
    GROUP BY i.account_id
)
SELECT 'account' AS kind, a.known_by AS inbox_id, a.id AS account_id, NULL AS name, NULL AS channel_type
FROM account a WHERE a.known_by IS NOT NULL
UNION ALL
SELECT 'inbox', i.id::integer, i.account_id::integer, i.name::text, i.channel_type::text
FROM inboxes i JOIN account a ON a.id = i.account_id
WHERE i.id <= 2147483647 AND NOT EXISTS (SELECT FROM mapped m WHERE m.id = i.id)
UNION ALL
SELECT 'gone', m.id, NULL, NULL, NULL
FROM mapped m
WHERE NOT EXISTS (SELECT FROM inboxes i WHERE i.id = m.id) AND EXISTS (SELECT FROM inboxes)
