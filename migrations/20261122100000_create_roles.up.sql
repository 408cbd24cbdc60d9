-- Group roles (NOLOGIN) that the policies speak of. Logins are granted one of them; the processes SET ROLE to
-- etl_service, so that row-level security holds even for a login that could bypass it.
-- Roles belong to the whole server: other databases may use them, so they are made once and never dropped.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['etl_service', 'authenticated_users', 'admin_users'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION
                -- another database of this server is being migrated at the same moment
                WHEN duplicate_object OR unique_violation THEN NULL;
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'role % is missing and % may not create it', wanted, current_user
                        USING ERRCODE = 'insufficient_privilege',
                              HINT = format('As a superuser run: CREATE ROLE %I NOLOGIN;', wanted);
            END;
        END IF;
    END LOOP;

    -- the login that migrates is usually the one that runs the processes
    IF NOT pg_has_role(current_user, 'etl_service', 'MEMBER') THEN
        BEGIN
            EXECUTE format('GRANT etl_service TO %I', current_user);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE EXCEPTION '% is not a member of etl_service and may not grant it', current_user
                USING ERRCODE = 'insufficient_privilege',
                      HINT = format('As a superuser run: GRANT etl_service TO %I;', current_user);
        END;
    END IF;
END
$$;

-- The tenant of the current transaction; NULL (no row passes) when the setting is missing, empty or not a number.
CREATE FUNCTION app_current_tenant_id() RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN current_setting('app.current_tenant_id', true) ~ '^[0-9]{1,9}$'
                THEN current_setting('app.current_tenant_id', true)::integer END
$$;
