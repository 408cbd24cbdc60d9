-- Maps inboxes to the one tenant that takes the new inboxes of their account. An inbox that a tenant has, or that an operator
-- unmapped, stays as it is; one that its tenant left behind by a move is mapped again. The lock waits for a command that
-- changes the tenant at this moment, and then looks at the tenant again.
-- $1 source, and for each inbox: $2 account, $3 id, $4 name, $5 channel type
WITH taker AS (
    SELECT t.account_id, min(t.id) AS id
    FROM tenants t
    WHERE t.source = $1 AND t.account_id = ANY($2) AND t.discover AND t.deleted_at IS NULL AND t.status <> 'cancelled'
    GROUP BY t.account_id HAVING count(*) = 1
), locked AS (
    SELECT t.id, t.account_id
    FROM tenants t
    WHERE t.id IN (SELECT id FROM taker) AND t.source = $1 AND t.account_id = ANY($2) AND t.discover
      AND t.deleted_at IS NULL AND t.status <> 'cancelled'
    ORDER BY t.id FOR NO KEY UPDATE
)
INSERT INTO inbox_tenant_mapping (source, inbox_id, tenant_id, inbox_name, channel_type)
SELECT $1, new.inbox_id, locked.id, new.inbox_name, new.channel_type
FROM unnest($2::integer[], $3::integer[], $4::text[], $5::text[]) AS new (account_id, inbox_id, inbox_name, channel_type)
JOIN locked ON locked.account_id = new.account_id
ORDER BY new.inbox_id
ON CONFLICT (source, inbox_id) DO UPDATE
SET tenant_id = excluded.tenant_id, is_active = true, updated_at = now(),
    inbox_name = coalesce(excluded.inbox_name, inbox_tenant_mapping.inbox_name),
    channel_type = coalesce(excluded.channel_type, inbox_tenant_mapping.channel_type),
    backfilled_at = NULL, unmapped_at = NULL, gone_at = NULL, waiting_rows = 0
WHERE (NOT inbox_tenant_mapping.is_active AND inbox_tenant_mapping.unmapped_at IS NULL)
   OR EXISTS (SELECT FROM tenants t WHERE t.id = inbox_tenant_mapping.tenant_id AND t.deleted_at IS NOT NULL)
RETURNING inbox_id, tenant_id
