-- Indexes, policies, rights, checks, columns and view of the target as one text, independent of its storage. Columns have
-- a compression from PostgreSQL 14 on.
SELECT jsonb_build_object(
    'indexes', (SELECT jsonb_agg(replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ') ORDER BY indexrelid::regclass::text)
                FROM pg_index WHERE indrelid = 'conversations_analytics'::regclass),
    'policies', (SELECT jsonb_agg(to_jsonb(p) ORDER BY policyname) FROM pg_policies p
                 WHERE tablename = 'conversations_analytics'),
    'security', (SELECT jsonb_build_array(relrowsecurity, relforcerowsecurity, relowner::regrole) FROM pg_class
                 WHERE oid = 'conversations_analytics'::regclass),
    'rights', (SELECT jsonb_agg(r ORDER BY r) FROM (
                   SELECT concat_ws(' ', grantee::regrole, privilege_type) AS r
                   FROM pg_class, aclexplode(relacl) WHERE oid = 'conversations_analytics'::regclass) AS rights),
    'checks', (SELECT jsonb_agg(pg_get_constraintdef(oid) ORDER BY conname) FROM pg_constraint
               WHERE conrelid = 'conversations_analytics'::regclass),
    'columns', (SELECT jsonb_agg(jsonb_build_array(attname, format_type(atttypid, atttypmod), attnotnull,
                                                   to_jsonb(a) -> 'attcompression', pg_get_expr(adbin, adrelid)) ORDER BY attnum)
                FROM pg_attribute a LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
                WHERE attrelid = 'conversations_analytics'::regclass AND attnum > 0 AND NOT attisdropped),
    'views', (SELECT jsonb_agg(jsonb_build_array(reloptions, relacl::text, pg_get_viewdef(oid)) ORDER BY relname) FROM pg_class
              WHERE relname IN ('conversations_analytics_live', 'messages_live', 'reporting_events_live')))::text
