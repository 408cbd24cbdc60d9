#!/usr/bin/env bash
# Dumps an analytics database with all rows of all tenants, into one file for deploy/restore.sh:
#
#   PGHOST=… PGUSER=tidemark_backup PGDATABASE=tidemark deploy/backup.sh FILE
#
# psql and pg_dump connect as the environment says (PGPASSFILE, PGSSLMODE, PGSERVICE and so on); pg_dump must be as new as the
# server. The fleet may run. The login is a member of admin_users, which reads every row; it may be the owner, or own nothing:
#
#   CREATE ROLE tidemark_backup LOGIN PASSWORD '…'; GRANT admin_users TO tidemark_backup;
#
# A superuser and a role with BYPASSRLS need no membership. Only the schema of Tidemark's tables is dumped, and the dump is
# refused if a policy hides a row of it. Options after FILE go to pg_dump, such as --exclude-table=NAME for a table of yours.
set -euo pipefail

fail() { echo "backup: $*" >&2 && exit 1; }
ask() { psql -qXAt -v ON_ERROR_STOP=1 "$@"; }

[[ $# -ge 1 && $1 != -* ]] || { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit 64; }
file=$1
shift
# a dump contains everybody's conversations
umask 077

schema=$(ask -c "SELECT quote_ident(nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                 WHERE c.oid = to_regclass('etl_control')")
[[ -n $schema ]] || fail 'this database has no tables of Tidemark that the login can reach: check PGDATABASE and PGUSER'

login=$(ask -c 'SELECT quote_ident(current_user)')
reader=()
if [[ $(ask -c 'SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user') == f ]]; then
    [[ $(ask -c "SELECT pg_has_role('admin_users', 'MEMBER')") == t ]] ||
        fail "row-level security hides rows from $login; an administrator runs: GRANT admin_users TO $login;"
    # A session of admin_users, with its policies and no other's. With row_security off, as pg_dump has it otherwise, the
    # server refuses to read a table with policies.
    reader=(--role=admin_users --enable-row-security)
    hidden=$(ask -v schema="$schema" -f - <<'SQL'
SET ROLE admin_users;
WITH reader AS (
    SELECT 'admin_users'::regrole::oid AS oid
), dumped AS (
    SELECT oid, oid::regclass AS name, relrowsecurity FROM pg_class
    WHERE relnamespace = :'schema'::regnamespace AND relkind IN ('r', 'p')
), applied AS (
    SELECT p.* FROM pg_policy p, reader
    WHERE p.polcmd IN ('r', '*') AND EXISTS (SELECT FROM unnest(p.polroles) AS r (oid)
                                             WHERE r.oid = 0 OR pg_has_role(reader.oid, r.oid, 'USAGE'))
)
SELECT format('  %s: no policy shows all of its rows to admin_users; its owner runs: DROP POLICY IF EXISTS admin ON %1$s; '
              'CREATE POLICY admin ON %1$s FOR SELECT TO admin_users USING (true);', name)
FROM dumped d
WHERE relrowsecurity AND NOT EXISTS (SELECT FROM applied p WHERE p.polrelid = d.oid AND p.polpermissive
                                     AND pg_get_expr(p.polqual, p.polrelid) = 'true')
UNION ALL
SELECT format('  %s: the restrictive policy %I hides rows from admin_users; its owner runs: ALTER POLICY %2$I ON %1$s TO …; '
              'with the roles that it is for', name, polname)
FROM dumped d JOIN applied p ON p.polrelid = d.oid AND NOT p.polpermissive
WHERE relrowsecurity
UNION ALL
SELECT format('  %s: admin_users may not read it; its owner runs: GRANT SELECT ON %1$s TO admin_users; '
              'or leave it out: --exclude-table=%1$s', name)
FROM dumped d WHERE NOT has_table_privilege(d.oid, 'SELECT')
ORDER BY 1;
SQL
    )
    for excluded in "$@"; do
        name=${excluded#--exclude-table=}
        hidden=$(grep -v "^  ${name//./\\.}:" <<<"$hidden" || true)
    done
    [[ -z $hidden ]] || fail $'the dump would lack rows, so nothing is dumped:\n'"$hidden"
fi

trap 'rm -f "$file.part"' EXIT
pg_dump --format=custom --schema="$schema" --file="$file.part" "${reader[@]}" "$@"
mv "$file.part" "$file"
echo "backup: $file has schema $schema; deploy/restore.sh restores it" >&2
