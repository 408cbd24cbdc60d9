-- A backup is taken by a member of admin_users (docs/install.md), which reads every row of every table. A dump also reads
-- the table of migrations and the positions of sequences.
GRANT SELECT ON _sqlx_migrations TO admin_users;
GRANT SELECT ON SEQUENCE etl_control_id_seq, etl_watermark_audit_id_seq, etl_source_audit_id_seq TO admin_users;

-- In a schema other than `public` the roles reach nothing until somebody says so. Where this login may not, `tidemark
-- migrate` has printed the statement. Roles and their rights on a schema stay when this is reverted.
DO $$
DECLARE
    here   text := current_schema();
    member text;
BEGIN
    FOREACH member IN ARRAY ARRAY['etl_service', 'authenticated_users', 'admin_users'] LOOP
        IF NOT has_schema_privilege(member, here, 'USAGE') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', here, member);
        END IF;
    END LOOP;
END
$$;
