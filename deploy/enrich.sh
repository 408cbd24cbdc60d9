#!/usr/bin/env bash
# Labels the conversations of one tenant: an example of a consumer of the feed of changes.
#
#   PGHOST=… PGUSER=labels PGDATABASE=tidemark PGPASSFILE=… deploy/enrich.sh PROGRAM [ARGUMENT…]
#
# The login is bound to the tenant and may write the schema enrichment: `tidemark tenant login add --writes-enrichment`. The tables
# are those of "Enrichment" in docs/data.md. PROGRAM gets the last text of a customer on its standard input and prints a label.
# It is asked for conversations whose last customer text is newer than their label. The script ends when it has read the whole feed:
# run it from cron or a timer. It may be killed at any time; what it has not stored it does again.
set -euo pipefail

[[ $# -ge 1 && $1 != -* ]] || { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit 64; }
ask() { psql -qXAt -v ON_ERROR_STOP=1 "$@"; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

while :; do
    # one part of the feed; psql shows the SQLSTATE before the message
    if ! ask -v VERBOSITY=verbose -F $'\t' -f - >"$work/part" 2>"$work/error" <<'SQL'; then
SELECT number, next_cursor, conversation_id, kind
FROM changes_since(app_current_tenant_id(), (SELECT next_cursor FROM enrichment.reader WHERE name = 'labels'), 200)
     WITH ORDINALITY AS c (next_cursor, conversation_id, kind, changed_columns, conversation_date, changed_at, number)
ORDER BY number;
SQL
        grep -q 'TF410' "$work/error" || { cat "$work/error" >&2 && exit 1; }
        # the cursor is of no use: labels of conversations that are gone go, and the feed is read from its beginning
        ask -f - <<'SQL'
BEGIN;
DELETE FROM enrichment.conversation_label l
WHERE NOT EXISTS (SELECT FROM conversations_analytics_live a WHERE (a.tenant_id, a.conversation_id) = (l.tenant_id, l.conversation_id));
DELETE FROM enrichment.reader WHERE name = 'labels';
COMMIT;
SQL
        continue
    fi
    [[ -s $work/part ]] || exit 0
    cursor=$(tail -n 1 "$work/part" | cut -f 2)
    ids=$(cut -f 3 "$work/part" | sort -un | paste -sd ,)

    # texts may have any character, so each comes in base64
    ask -F $'\t' -v ids="{$ids}" -f - >"$work/due" <<'SQL'
SELECT a.conversation_id, a.last_customer_message_at, replace(encode(convert_to(a.last_customer_text, 'UTF8'), 'base64'), E'\n', '')
FROM conversations_analytics_live a
LEFT JOIN enrichment.conversation_label l ON (l.tenant_id, l.conversation_id) = (a.tenant_id, a.conversation_id)
WHERE a.conversation_id = ANY(:'ids'::bigint[]) AND a.last_customer_text IS NOT NULL
  AND (l.labelled_of IS NULL OR l.labelled_of < a.last_customer_message_at);
SQL
    : >"$work/labels"
    while IFS=$'\t' read -r id at text; do
        label=$(base64 -d <<<"$text" | "$@" | base64 -w 0)
        printf '%s\t%s\t%s\n' "$id" "$at" "$label" >>"$work/labels"
    done <"$work/due"

    ask -v ids="{$ids}" -v cursor="$cursor" -v labels="$(<"$work/labels")" -f - <<'SQL'
BEGIN;
INSERT INTO enrichment.conversation_label (tenant_id, conversation_id, label, labelled_of)
SELECT app_current_tenant_id(), split_part(line, E'\t', 1)::bigint,
       trim(convert_from(decode(split_part(line, E'\t', 3), 'base64'), 'UTF8'), E' \n'), split_part(line, E'\t', 2)::timestamptz
FROM regexp_split_to_table(:'labels', E'\n') AS line
WHERE line <> ''
ON CONFLICT (tenant_id, conversation_id) DO UPDATE SET label = EXCLUDED.label, labelled_of = EXCLUDED.labelled_of;
DELETE FROM enrichment.conversation_label l
WHERE l.conversation_id = ANY(:'ids'::bigint[])
  AND NOT EXISTS (SELECT FROM conversations_analytics_live a WHERE (a.tenant_id, a.conversation_id) = (l.tenant_id, l.conversation_id));
INSERT INTO enrichment.reader (tenant_id, name, next_cursor) VALUES (app_current_tenant_id(), 'labels', :'cursor')
ON CONFLICT (tenant_id, name) DO UPDATE SET next_cursor = EXCLUDED.next_cursor;
COMMIT;
SQL
done
