-- Which tenants take new inboxes of their Chatwoot account by themselves, and which inboxes an operator has left out.
ALTER TABLE tenants
    -- a plan maps new inboxes of the tenant's account to it
    ADD COLUMN discover boolean NOT NULL DEFAULT true;
ALTER TABLE inbox_tenant_mapping
    -- when an operator unmapped it: no plan maps it again. NULL while it is mapped, and after a move of its tenant
    ADD COLUMN unmapped_at timestamptz;

-- until now only an operator could unmap an inbox, or move its tenant to another source
UPDATE inbox_tenant_mapping m SET unmapped_at = m.updated_at
FROM tenants t
WHERE t.id = m.tenant_id AND t.source = m.source AND NOT m.is_active;
