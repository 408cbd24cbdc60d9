ALTER TABLE inbox_tenant_mapping DROP CONSTRAINT inbox_tenant_mapping_waiting, DROP COLUMN waiting_rows, DROP COLUMN gone_at;
