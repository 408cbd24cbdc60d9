DROP FUNCTION app_current_tenant_id();
