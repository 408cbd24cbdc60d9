-- The role of the console. On the ledger and the target it may do what etl_service may, under the same policies, and of the audit
-- of actions it removes nothing. It is not a member of etl_service, so that it cannot become it.
DO $$
DECLARE
    here   text := current_schema();
    owned  record;
    rights text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'console_service') THEN
        BEGIN
            CREATE ROLE console_service NOLOGIN;
        EXCEPTION
            -- another database of this server is being migrated at the same moment
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'role console_service is missing and % may not create it', current_user
                    USING ERRCODE = 'insufficient_privilege',
                          HINT = 'As a superuser run: CREATE ROLE console_service NOLOGIN;';
        END;
    END IF;

    -- The login that migrates is usually the one that runs the processes. Since PostgreSQL 16 who makes a role is a member of
    -- it and may still not become it.
    IF NOT pg_has_role(current_user, 'console_service',
                       CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END) THEN
        BEGIN
            EXECUTE format('GRANT console_service TO %I', current_user);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE EXCEPTION '% is not a member of console_service and may not grant it', current_user
                USING ERRCODE = 'insufficient_privilege',
                      HINT = format('As a superuser run: GRANT console_service TO %I;', current_user);
        END;
    END IF;

    IF NOT has_schema_privilege('console_service', here, 'USAGE') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO console_service', here);
    END IF;

    FOR owned IN
        SELECT c.oid, c.relname AS name FROM pg_class c
        WHERE c.relnamespace = here::regnamespace AND c.relname IN (
            'conversations_analytics', 'conversations_analytics_live', 'messages_live', 'reporting_events_live',
            'etl_action_audit', 'etl_agreement', 'etl_chunk', 'etl_control', 'etl_fence', 'etl_forgotten_contact', 'etl_name',
            'etl_process', 'etl_rejected_row', 'etl_sender', 'etl_source', 'etl_source_audit', 'etl_source_watch',
            'etl_unsynced_inbox', 'etl_verification', 'etl_verification_fault', 'etl_verification_part', 'etl_watermark',
            'etl_watermark_audit', 'etl_webhook', 'etl_webhook_condition', 'etl_webhook_delivery',
            'etl_withheld_conversation', 'inbox_tenant_mapping', 'tenants', '_sqlx_migrations')
    LOOP
        SELECT string_agg(one.privilege, ', ') INTO rights
        FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS one (privilege)
        WHERE has_table_privilege('etl_service', owned.oid, one.privilege)
          AND NOT (owned.name = 'etl_action_audit' AND one.privilege = 'DELETE');
        EXECUTE format('GRANT %s ON %I TO console_service', rights, owned.name);
        EXECUTE coalesce((
            SELECT format('CREATE POLICY console ON %I TO console_service USING (%s)', owned.name, pg_get_expr(polqual, polrelid))
                   || coalesce(' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')', '')
            FROM pg_policy WHERE polrelid = owned.oid AND polname = 'service'), 'SELECT');
    END LOOP;
END
$$;
