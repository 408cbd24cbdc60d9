DROP TRIGGER tenants_raise_source_version ON tenants;
DROP FUNCTION raise_source_version();
ALTER TABLE tenants DROP COLUMN source_version;
