REVOKE SELECT (name) ON tenants FROM authenticated_users;
REVOKE SELECT (tenant_id, watermark, checked_at) ON etl_watermark FROM authenticated_users;
