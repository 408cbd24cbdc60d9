-- Replaces the recorded inboxes of some accounts by those of these inboxes that no tenant has. Writes nothing where nothing
-- changed.
-- $1 source, $2 accounts, and for each: $3 a mapped inbox of it, where no planned tenant has the account;
-- and for each inbox: $4 account, $5 id, $6 name, $7 channel type
WITH account AS (
    SELECT a.id,
           count(t.id) AS tenants,
           count(t.id) FILTER (WHERE t.discover) AS takers,
           CASE WHEN count(t.id) = 0 THEN min(k.tenant_id) WHEN count(t.id) = 1 THEN min(t.id) END AS tenant_id
    FROM unnest($2::integer[], $3::integer[]) AS a (id, known_by)
    LEFT JOIN tenants t ON t.source = $1 AND t.account_id = a.id AND t.deleted_at IS NULL AND t.status <> 'cancelled'
    LEFT JOIN inbox_tenant_mapping k ON k.source = $1 AND k.inbox_id = a.known_by AND k.is_active
    GROUP BY a.id
), unsynced AS (
    SELECT f.inbox_id, f.account_id, f.inbox_name, f.channel_type,
           CASE WHEN m.unmapped_at IS NOT NULL THEN m.tenant_id ELSE a.tenant_id END AS tenant_id,
           CASE WHEN m.unmapped_at IS NOT NULL THEN 'unmapped'
                WHEN a.tenants = 0 THEN 'no_account'
                WHEN a.takers = 0 THEN 'discover_off'
                WHEN a.takers > 1 THEN 'several_tenants' END AS reason
    FROM unnest($4::integer[], $5::integer[], $6::text[], $7::text[]) AS f (account_id, inbox_id, inbox_name, channel_type)
    JOIN account a ON a.id = f.account_id
    LEFT JOIN (SELECT i.inbox_id, i.tenant_id, i.is_active, i.unmapped_at
               FROM inbox_tenant_mapping i JOIN tenants o ON o.id = i.tenant_id AND o.deleted_at IS NULL
               WHERE i.source = $1) m ON m.inbox_id = f.inbox_id
    WHERE m.is_active IS NOT TRUE
), known AS (
    SELECT * FROM unsynced WHERE reason IS NOT NULL
), removed AS (
    DELETE FROM etl_unsynced_inbox u
    WHERE u.source = $1 AND u.account_id = ANY($2) AND NOT EXISTS (SELECT FROM known k WHERE k.inbox_id = u.inbox_id)
)
INSERT INTO etl_unsynced_inbox (source, inbox_id, account_id, inbox_name, channel_type, reason, tenant_id)
SELECT $1, k.inbox_id, k.account_id, k.inbox_name, k.channel_type, k.reason, k.tenant_id
FROM known k ORDER BY k.inbox_id
ON CONFLICT (source, inbox_id) DO UPDATE
SET account_id = excluded.account_id, inbox_name = excluded.inbox_name, channel_type = excluded.channel_type,
    reason = excluded.reason, tenant_id = excluded.tenant_id
WHERE (etl_unsynced_inbox.account_id, etl_unsynced_inbox.inbox_name, etl_unsynced_inbox.channel_type,
       etl_unsynced_inbox.reason, etl_unsynced_inbox.tenant_id)
      IS DISTINCT FROM
      (excluded.account_id, excluded.inbox_name, excluded.channel_type, excluded.reason, excluded.tenant_id)
