-- What the analytics server needs once, before `tidemark migrate`:
--
--   psql -h localhost -U postgres -f deploy/analytics.sql
--
-- Run it as a superuser, or as a login with CREATEROLE and CREATEDB, such as the administrator of a managed server
-- (Amazon RDS and Aurora, Google Cloud SQL, Azure). PostgreSQL 13 to 18. Running it again does no harm.
--
-- It makes a login and a database, both named `tidemark` (-v login=NAME -v database=NAME), and the roles that the policies
-- name. The login may act as etl_service, its console as console_service, and pages of tenants as authenticated_users,
-- and it has no other right; with
-- -v password=TEXT it gets that password. It owns a database that is made here, and may migrate it. A database that exists
-- keeps its owner, who migrates it then, and the login only runs the processes.
\set ON_ERROR_STOP on
\if :{?login} \else \set login tidemark \endif
\if :{?database} \else \set database tidemark \endif

SELECT format('CREATE ROLE %I NOLOGIN', wanted.role)
FROM (VALUES ('etl_service'), ('authenticated_users'), ('admin_users'), ('console_service'),
             ('bound_users'), ('enrichment_writer')) AS wanted (role)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted.role) \gexec

SELECT format('CREATE ROLE %I LOGIN', :'login')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'login') \gexec
\if :{?password}
ALTER ROLE :"login" PASSWORD :'password';
\endif
SELECT format('GRANT %I TO %I', acts.role, :'login')
FROM (VALUES ('etl_service'), ('console_service'), ('authenticated_users')) AS acts (role)
WHERE NOT pg_has_role(:'login', acts.role, 'MEMBER') \gexec

-- With -v pages_password=TEXT a second login, LOGIN_pages, that only reads one tenant's rows: for console.tenant_database_url.
\if :{?pages_password} \else \set pages_password '' \endif
SELECT :'pages_password' <> '' AS has_pages, :'login' || '_pages' AS pages \gset
\if :has_pages
    SELECT format('CREATE ROLE %I LOGIN', :'pages') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'pages') \gexec
    ALTER ROLE :"pages" PASSWORD :'pages_password';
    GRANT authenticated_users TO :"pages";
\endif

-- Only a role that may become the owner can give it a database. An administrator who is no superuser becomes a member of the
-- login for as long as that takes.
SELECT NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') AS is_new,
       NOT pg_has_role(:'login', CASE WHEN :SERVER_VERSION_NUM < 160000 THEN 'MEMBER' ELSE 'SET' END) AS is_stranger \gset
\if :is_new
    \if :is_stranger
        GRANT :"login" TO CURRENT_USER;
    \endif
    -- the locale of some servers allows no UTF8
    SELECT CASE WHEN encoding <> pg_char_to_encoding('UTF8') AND datctype NOT IN ('C', 'POSIX')
                THEN 'LC_COLLATE ''C'' LC_CTYPE ''C''' ELSE '' END AS locale
    FROM pg_database WHERE datname = 'template0' \gset
    CREATE DATABASE :"database" OWNER :"login" ENCODING 'UTF8' TEMPLATE template0 :locale;
\endif
\connect :"database"

-- Nobody else may create objects in the schema of ours. Before PostgreSQL 15 everybody may do so in the schema public, and
-- only a superuser can change that. A new database gets a schema of its own then, which comes first in the search path.
SET client_min_messages = error;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
RESET client_min_messages;
SELECT :'is_new' AND has_schema_privilege('public', 'public', 'CREATE') AS is_open \gset
\if :is_open
    SET ROLE :"login";
    CREATE SCHEMA :"database";
    GRANT USAGE ON SCHEMA :"database" TO PUBLIC;
    ALTER DATABASE :"database" SET search_path = :"database", public;
    RESET ROLE;
\endif
\if :is_new
    \if :is_stranger
        REVOKE :"login" FROM CURRENT_USER;
    \endif
\endif
