-- Rows of others beside ours: docs/data.md has the pattern. A member of enrichment_writer reads the conversations of its tenant and
-- the feed of their changes, and writes tables of the schema enrichment that the owner has made for it. It creates none: a table of
-- its own would have no row-level security, and a function could wait there for another tenant's reader.
DO $$
DECLARE
    here     text := current_schema();
    readable text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'enrichment_writer') THEN
        BEGIN
            CREATE ROLE enrichment_writer NOLOGIN;
        EXCEPTION
            -- another database of this server is being migrated at the same moment
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'role enrichment_writer is missing and % may not create it', current_user
                    USING ERRCODE = 'insufficient_privilege',
                          HINT = 'As a superuser run: CREATE ROLE enrichment_writer NOLOGIN;';
        END;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'enrichment') THEN
        CREATE SCHEMA enrichment;
    END IF;
    FOREACH readable IN ARRAY ARRAY['enrichment_writer', 'authenticated_users', 'admin_users'] LOOP
        IF NOT has_schema_privilege(readable, 'enrichment', 'USAGE') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA enrichment TO %I', readable);
        END IF;
        IF NOT has_schema_privilege(readable, here, 'USAGE') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', here, readable);
        END IF;
    END LOOP;
    FOREACH readable IN ARRAY ARRAY['conversations_analytics', 'conversation_change', 'conversation_feed', 'tenants'] LOOP
        EXECUTE format('CREATE POLICY enrichment ON %I FOR SELECT TO enrichment_writer USING (%I = (SELECT app_current_tenant_id()))',
                       readable, CASE readable WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END);
    END LOOP;
END
$$;
GRANT SELECT ON conversations_analytics, conversations_analytics_live, messages_live, reporting_events_live,
                conversation_change, conversation_feed TO enrichment_writer;
GRANT SELECT (id, name, timezone) ON tenants TO enrichment_writer;
