-- Before PostgreSQL 15 a view reads with the rights and policies of its owner. For an owner that is no superuser, as on a managed
-- server, these show the current tenant, so members of admin_users saw no row of the live view. The owner's policies here
-- ask who reads: inside a view current_user is still the reader. No other view of the owner shows more by them.
DO $$
BEGIN
    IF current_setting('server_version_num')::integer < 150000
       AND current_user NOT IN ('etl_service', 'authenticated_users', 'admin_users') THEN
        CREATE POLICY live_view ON conversations_analytics FOR SELECT TO CURRENT_USER
            USING (tenant_id = (SELECT app_current_tenant_id()) OR pg_has_role(current_user, 'admin_users', 'MEMBER'));
        CREATE POLICY live_view ON tenants FOR SELECT TO CURRENT_USER
            USING (id = (SELECT app_current_tenant_id()) OR pg_has_role(current_user, 'admin_users', 'MEMBER'));
    END IF;
END
$$;
