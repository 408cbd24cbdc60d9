ALTER TABLE inbox_tenant_mapping DROP COLUMN unmapped_at;
ALTER TABLE tenants DROP COLUMN discover;
