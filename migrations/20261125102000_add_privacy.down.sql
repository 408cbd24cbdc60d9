ALTER TABLE tenants DROP COLUMN privacy;
