-- Statements that an administrator must run before this login can migrate.
-- Since PostgreSQL 16 CREATEROLE covers only roles that the login created, and a member cannot always SET ROLE.
WITH me AS (SELECT *, current_setting('server_version_num')::integer >= 160000 AS is_16
            FROM pg_roles WHERE rolname = current_user),
     wanted (position, role) AS (VALUES (1, 'etl_service'), (2, 'authenticated_users'), (3, 'admin_users'), (4, 'console_service'),
                                        (5, 'bound_users'), (6, 'enrichment_writer')),
     missing (position, statement) AS (
         SELECT position, format('CREATE ROLE %I NOLOGIN;', role) FROM wanted, me
         WHERE NOT (rolsuper OR rolcreaterole)
           AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role)
         UNION ALL
         -- the login runs the processes, and the console
         SELECT 7, format('GRANT %I TO %I;', wanted.role, me.rolname)
         FROM me JOIN wanted ON wanted.role IN ('etl_service', 'console_service')
         LEFT JOIN pg_roles r ON r.rolname = wanted.role
         WHERE NOT me.rolsuper AND CASE WHEN r.oid IS NULL THEN NOT me.rolcreaterole
             ELSE NOT pg_has_role(me.oid, r.oid, CASE WHEN is_16 THEN 'SET' ELSE 'MEMBER' END)
                  AND NOT pg_has_role(me.oid, r.oid, 'MEMBER WITH ADMIN OPTION')
                  AND (is_16 OR NOT me.rolcreaterole) END
         UNION ALL
         SELECT 8, format('GRANT CREATE ON SCHEMA %I TO %I;', current_schema(), rolname)
         FROM me WHERE NOT has_schema_privilege(current_schema(), 'CREATE')
         UNION ALL
         -- public is open to everybody; in another schema the roles need this, and the migrations grant it where they may
         SELECT 9, format('GRANT USAGE ON SCHEMA %I TO etl_service, authenticated_users, admin_users, console_service, '
                          'enrichment_writer;', current_schema())
         FROM me WHERE NOT has_schema_privilege(current_schema(), 'USAGE WITH GRANT OPTION')
           AND NOT EXISTS (SELECT FROM pg_namespace n, aclexplode(n.nspacl) AS given
                           WHERE n.nspname = current_schema() AND given.grantee = 0 AND given.privilege_type = 'USAGE')
           AND (SELECT count(*) FROM wanted JOIN pg_roles r ON r.rolname = role
                WHERE role <> 'bound_users' AND has_schema_privilege(r.oid, current_schema(), 'USAGE')) < 5
         UNION ALL
         SELECT 10, format('CREATE SCHEMA enrichment AUTHORIZATION %I;', rolname)
         FROM me WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'enrichment')
           AND NOT has_database_privilege(current_database(), 'CREATE')
         UNION ALL
         -- the schema of somebody else
         SELECT 11, 'GRANT USAGE ON SCHEMA enrichment TO enrichment_writer, authenticated_users, admin_users;'
         FROM me JOIN pg_namespace n ON n.nspname = 'enrichment'
         WHERE NOT has_schema_privilege(n.oid, 'USAGE WITH GRANT OPTION')
           AND (SELECT count(*) FROM wanted JOIN pg_roles r ON r.rolname = role
                WHERE role IN ('enrichment_writer', 'authenticated_users', 'admin_users')
                  AND has_schema_privilege(r.oid, n.oid, 'USAGE')) < 3)
SELECT statement FROM missing ORDER BY position, statement DESC
