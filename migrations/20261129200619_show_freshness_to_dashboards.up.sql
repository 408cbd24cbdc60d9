-- A dashboard says whose data it shows and how fresh they are: a tenant's name, its watermark, and when it was last compared
-- with its source. The policies of these tables show each tenant its own row.
GRANT SELECT (name) ON tenants TO authenticated_users;
GRANT SELECT (tenant_id, watermark, checked_at) ON etl_watermark TO authenticated_users;
