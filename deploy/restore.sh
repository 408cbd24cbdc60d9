#!/usr/bin/env bash
# Restores a dump of deploy/backup.sh into a database without Tidemark's tables, whole or not at all:
#
#   PGHOST=… PGUSER=tidemark PGDATABASE=tidemark deploy/restore.sh FILE
#
# psql and pg_restore connect as the environment says. The login owns the tables then. It needs no superuser: deploy/analytics.sql
# makes the login, the database and the three roles on a new server. All processes of the fleet are stopped. Afterwards:
#
#   tidemark migrate && tidemark doctor, start the processes, tidemark sync --all --wait, tidemark verify --all
set -euo pipefail

fail() { echo "restore: $*" >&2 && exit 1; }
ask() { psql -qXAt -v ON_ERROR_STOP=1 "$@"; }

[[ $# == 1 && -r $1 ]] || { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit 64; }
file=$1
list=$(mktemp)
trap 'rm -f "$list"' EXIT

# The schema exists, or is created below. Its own rights are set below, since PostgreSQL 13 has other ones than 15.
# The policies `live_view` name the former owner; they are made below for this one.
pg_restore --list "$file" |
    grep -vE '^[0-9]+; [0-9]+ [0-9]+ (SCHEMA|(ACL|COMMENT) - SCHEMA|POLICY [^ ]+ [^ ]+ live_view) ' >"$list"
schema=$(awk '$4 == "TABLE" && $6 == "etl_control" { print $5 }' "$list")
[[ -n $schema ]] || fail "$file has no tables of Tidemark"

[[ $(ask -c 'SHOW server_encoding') == UTF8 ]] || fail 'the database has another encoding than UTF8: make one by deploy/analytics.sql'
missing=$(ask -c "SELECT string_agg(role, ', ') FROM unnest(ARRAY['etl_service', 'console_service', 'authenticated_users', 'admin_users', 'bound_users', 'enrichment_writer']) AS role
                  WHERE role NOT IN (SELECT rolname FROM pg_roles)")
[[ -z $missing ]] || fail "the server lacks the roles $missing: an administrator runs deploy/analytics.sql"
[[ $(ask -c "SELECT pg_has_role('etl_service', 'MEMBER')") == t ]] ||
    fail "$(ask -c "SELECT format('an administrator runs: GRANT etl_service TO %I;', current_user)")"

ask -v schema="$schema" -f - <<'SQL'
SET client_min_messages = warning;
SELECT format('CREATE SCHEMA %I', :'schema') WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = :'schema') \gexec
SELECT format('GRANT USAGE ON SCHEMA %I TO %I', :'schema', role)
FROM unnest(ARRAY['etl_service', 'console_service', 'authenticated_users', 'admin_users', 'bound_users', 'enrichment_writer']) AS role
WHERE NOT has_schema_privilege(role, :'schema', 'USAGE') \gexec
SELECT 'CREATE SCHEMA enrichment' WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'enrichment') \gexec
SELECT format('GRANT USAGE ON SCHEMA enrichment TO %I', role)
FROM unnest(ARRAY['enrichment_writer', 'authenticated_users', 'admin_users']) AS role
WHERE NOT has_schema_privilege(role, 'enrichment', 'USAGE') \gexec
-- migrations create their tables in the first schema of the path
SELECT format('ALTER DATABASE %I SET search_path = %I, public', current_database(), :'schema')
WHERE :'schema' IS DISTINCT FROM current_schema() \gexec
SQL
[[ -z $(ask -v schema="$schema" -f - <<<"SELECT to_regclass(format('%I.etl_control', :'schema'))") ]] ||
    fail "the database has the tables already (schema $schema): restore into a new one"

# The rows come before row-level security is switched on, so the owner may write them. pg_restore 17 and newer sets a
# parameter that older servers do not know. COMMIT comes only after the whole dump: without it nothing is restored.
{
    echo 'BEGIN;'
    pg_restore --no-owner --use-list="$list" --file=- "$file" | sed '/^SET transaction_timeout = 0;$/d' && echo 'COMMIT;'
} | ask -f - >/dev/null

ask -v schema="$schema" -f - <<'SQL'
-- before PostgreSQL 15 the live view reads with its owner's rights, see migrations/…_show_live_view_to_admins.up.sql
SELECT format('CREATE POLICY live_view ON %I.%I FOR SELECT TO CURRENT_USER USING (%I = (SELECT %1$I.app_current_tenant_id()) '
              'OR pg_has_role(current_user, ''admin_users'', ''MEMBER''))', :'schema', name, tenant)
FROM (VALUES ('conversations_analytics', 'tenant_id'), ('tenants', 'id')) AS read (name, tenant)
WHERE current_setting('server_version_num')::integer < 150000 \gexec
SELECT format('ALTER POLICY live_view ON %1$I.conversations_analytics USING (tenant_id = ANY (ARRAY(SELECT id FROM %1$I.tenants '
              'WHERE id = (SELECT %1$I.app_current_tenant_id()) OR pg_has_role(current_user, ''admin_users'', ''MEMBER''))))', :'schema')
WHERE current_setting('server_version_num')::integer < 150000 \gexec
SELECT format('ALTER VIEW %I.%I SET (security_invoker = true)', :'schema', name)
FROM (VALUES ('conversations_analytics_live'), ('messages_live'), ('reporting_events_live')) AS view (name)
WHERE current_setting('server_version_num')::integer >= 150000 \gexec
-- a dump has no statistics
SELECT format('ANALYZE %I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = :'schema' AND tableowner = current_user \gexec
SQL
echo "restore: the tables are in schema $schema; run tidemark migrate, tidemark doctor, and at the end tidemark verify --all" >&2
