-- A row for each message and for each reporting event of live conversations. A filter on tenant_id and conversation_date
-- uses the index on these columns of conversations_analytics. For servers before 15 see create_conversations_analytics_live.
DO $migration$
DECLARE
    messages text := $view$
SELECT
    a.tenant_id,
    a.conversation_id,
    a.inbox_id,
    a.conversation_date,
    m.message_id,
    m.message_type,
    m.content_type,
    m.status,
    m.private,
    m.sender,
    m.sender_id,
    m.sent_at AT TIME ZONE 'UTC' AS sent_at,
    m.text,
    m.sentiment,
    m.source_id
FROM conversations_analytics AS a
CROSS JOIN LATERAL jsonb_to_recordset(a.message_compiled) AS m (
    message_id bigint, message_type integer, content_type integer, status integer, private boolean, sender text,
    sender_id bigint, sent_at timestamp, text text, sentiment jsonb, source_id text)
WHERE a.source_deleted_at IS NULL
$view$;
    events text := $view$
SELECT
    a.tenant_id,
    a.conversation_id,
    a.inbox_id AS conversation_inbox_id,
    a.conversation_date,
    e.event_id,
    e.name,
    e.value,
    e.value_in_business_hours,
    e.user_id,
    e.inbox_id,
    e.started_at AT TIME ZONE 'UTC' AS started_at,
    e.ended_at AT TIME ZONE 'UTC' AS ended_at,
    e.created_at AT TIME ZONE 'UTC' AS created_at
FROM conversations_analytics AS a
CROSS JOIN LATERAL jsonb_to_recordset(a.events_compiled) AS e (
    event_id bigint, name text, value numeric, value_in_business_hours numeric, user_id bigint, inbox_id bigint,
    started_at timestamp, ended_at timestamp, created_at timestamp)
WHERE a.source_deleted_at IS NULL
$view$;
    readers text := ' AND (a.tenant_id = app_current_tenant_id() OR pg_has_role(current_user, ''admin_users'', ''MEMBER''))';
BEGIN
    IF current_setting('server_version_num')::integer >= 150000 THEN
        EXECUTE 'CREATE VIEW messages_live WITH (security_invoker = true) AS' || messages;
        EXECUTE 'CREATE VIEW reporting_events_live WITH (security_invoker = true) AS' || events;
    ELSE
        EXECUTE 'CREATE VIEW messages_live WITH (security_barrier = true) AS' || messages || readers;
        EXECUTE 'CREATE VIEW reporting_events_live WITH (security_barrier = true) AS' || events || readers;
    END IF;
END
$migration$;
GRANT SELECT ON messages_live, reporting_events_live TO etl_service, authenticated_users, admin_users;
