-- What the analytics server needs once, as a superuser, before `tidemark migrate`:
--
--   psql -h localhost -U postgres -f deploy/analytics.sql
--
-- makes a login and a database, both named `tidemark` (-v login=NAME -v database=NAME), and the roles that policies speak
-- of. The login gets no right but that of acting as etl_service; with -v password=TEXT it gets that password. It owns a
-- database that is made here, and may migrate it. One that exists keeps its owner, who migrates it then, and the login does
-- no more than run the processes. Running it again does no harm.
\set ON_ERROR_STOP on
\if :{?login} \else \set login tidemark \endif
\if :{?database} \else \set database tidemark \endif

SELECT format('CREATE ROLE %I NOLOGIN', wanted.role)
FROM (VALUES ('etl_service'), ('authenticated_users'), ('admin_users')) AS wanted (role)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted.role) \gexec

SELECT format('CREATE ROLE %I LOGIN', :'login')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'login') \gexec
\if :{?password}
ALTER ROLE :"login" PASSWORD :'password';
\endif
GRANT etl_service TO :"login";

SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'login')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
