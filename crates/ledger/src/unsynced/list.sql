-- Inboxes that no tenant had at the last plan of their account, and that none has now. Accounts that no tenant has any more
-- are left out.
-- $1 source (NULL: all)
SELECT u.source, u.account_id, u.inbox_id, u.inbox_name, u.reason, u.tenant_id
FROM etl_unsynced_inbox u
WHERE ($1::text IS NULL OR u.source = $1)
  AND NOT EXISTS (
    SELECT FROM inbox_tenant_mapping m JOIN tenants t ON t.id = m.tenant_id AND t.deleted_at IS NULL
    WHERE m.source = u.source AND m.inbox_id = u.inbox_id AND m.is_active
  )
  AND EXISTS (
    SELECT FROM tenants t
    WHERE t.source = u.source AND t.deleted_at IS NULL AND (t.account_id = u.account_id OR t.id = u.tenant_id)
  )
ORDER BY u.source, u.inbox_id
