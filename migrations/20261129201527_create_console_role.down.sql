-- Roles and their rights on a schema stay.
DO $$
DECLARE
    owned record;
BEGIN
    FOR owned IN SELECT c.relname AS name, EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid AND polname = 'console') AS has_policy
                 FROM pg_class c CROSS JOIN aclexplode(c.relacl) AS given
                 WHERE c.relnamespace = current_schema()::regnamespace AND given.grantee = 'console_service'::regrole
                 GROUP BY c.oid, c.relname
    LOOP
        EXECUTE format('REVOKE ALL ON %I FROM console_service', owned.name);
        IF owned.has_policy THEN
            EXECUTE format('DROP POLICY console ON %I', owned.name);
        END IF;
    END LOOP;
END
$$;
