-- Rights, policies, triggers, constraints, indexes and view of all tables as one text, without the owner's own rights.
SELECT jsonb_build_object(
    'tables', (SELECT jsonb_agg(jsonb_build_array(relname, relkind, relrowsecurity, relforcerowsecurity, reloptions)
                                ORDER BY relname COLLATE "C")
               FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'S')),
    'rights', (SELECT jsonb_agg(r ORDER BY r COLLATE "C") FROM (
                   SELECT concat_ws(' ', relname, grantee::regrole, privilege_type) AS r
                   FROM pg_class, aclexplode(relacl) WHERE relnamespace = 'public'::regnamespace AND grantee <> relowner
                   UNION ALL
                   SELECT concat_ws(' ', relname, attname, grantee::regrole, privilege_type)
                   FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid, aclexplode(attacl)
                   WHERE relnamespace = 'public'::regnamespace AND grantee <> relowner) AS rights),
    'policies', (SELECT jsonb_agg(to_jsonb(p) ORDER BY tablename COLLATE "C", policyname COLLATE "C") FROM pg_policies p),
    'triggers', (SELECT jsonb_agg(pg_get_triggerdef(oid) ORDER BY pg_get_triggerdef(oid) COLLATE "C")
                 FROM pg_trigger WHERE NOT tgisinternal),
    'constraints', (SELECT jsonb_agg(pg_get_constraintdef(oid) ORDER BY conrelid::regclass::text COLLATE "C", conname)
                    FROM pg_constraint WHERE connamespace = 'public'::regnamespace),
    'indexes', (SELECT jsonb_agg(indexdef ORDER BY indexname COLLATE "C") FROM pg_indexes WHERE schemaname = 'public'),
    'view', pg_get_viewdef('conversations_analytics_live'::regclass))::text
