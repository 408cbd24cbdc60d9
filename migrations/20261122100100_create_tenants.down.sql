DROP TABLE inbox_tenant_mapping;
DROP FUNCTION bump_mapping_version();
DROP TABLE tenants;
DROP TYPE tenant_status;
