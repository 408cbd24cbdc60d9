-- The change feed of the target: a row for each change of a conversation's row, written in the transaction of the change.
-- docs/design/changes.md has the proof that a reader who follows it skips nothing.
CREATE TABLE conversation_change (
    tenant_id         integer     NOT NULL,
    -- Given while the tenant's row in tenants is locked until the end of the transaction. So a tenant's numbers become visible in
    -- their order, and a number that is seen has every lower one of the tenant before it.
    change_id         bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    conversation_id   bigint      NOT NULL,
    kind              text        NOT NULL,
    -- of an update; NULL: every column may be another
    changed_columns   text[],
    -- the day of the conversation by its row, and the day before the change, where that was another
    conversation_date date,
    previous_date     date,
    changed_at        timestamptz NOT NULL DEFAULT now(),
    -- serves changes_since
    CONSTRAINT conversation_change_pkey PRIMARY KEY (tenant_id, change_id),
    CONSTRAINT conversation_change_kind CHECK (kind IN ('inserted', 'updated', 'deleted'))
);
-- serves pruning; rows are appended, so a block has rows of about one time
CREATE INDEX conversation_change_age_idx ON conversation_change USING brin (changed_at) WITH (pages_per_range = 16);

-- How far the feed of each tenant was pruned: a reader who stands before that has missed something.
CREATE TABLE conversation_feed (
    tenant_id integer NOT NULL,
    pruned_to bigint  NOT NULL DEFAULT 0,
    CONSTRAINT conversation_feed_pkey PRIMARY KEY (tenant_id)
);

DO $$
DECLARE
    feed text;
BEGIN
    FOREACH feed IN ARRAY ARRAY['conversation_change', 'conversation_feed'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', feed);
        EXECUTE format('CREATE POLICY service ON %I TO etl_service USING (true) WITH CHECK (true)', feed);
        EXECUTE format('CREATE POLICY console ON %I TO console_service USING (true) WITH CHECK (true)', feed);
        EXECUTE format('CREATE POLICY own_tenant ON %I FOR SELECT TO authenticated_users '
                       'USING (tenant_id = (SELECT app_current_tenant_id()))', feed);
        EXECUTE format('CREATE POLICY admin ON %I FOR SELECT TO admin_users USING (true)', feed);
        EXECUTE format('GRANT SELECT ON %I TO authenticated_users, admin_users', feed);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, DELETE ON conversation_change TO etl_service, console_service;
GRANT SELECT, INSERT, UPDATE ON conversation_feed TO etl_service, console_service;
GRANT SELECT ON SEQUENCE conversation_change_change_id_seq TO admin_users;

-- The next changes of a tenant behind a cursor, oldest first. Without a cursor it lists the tenant's live conversations first, in
-- parts, as `existing`, and goes on with the changes since the first part. `next_cursor` of the last row is the next call's
-- `since`; without a row the cursor stays.
--
-- SQLSTATE TF410: the cursor is of no use any more, and the reader starts again without one. The first part of a cursor is
-- another after a restore, a move to another server and a promotion of a standby, which may have lost changes that were read.
DO $migration$
BEGIN
    EXECUTE format($create$
CREATE FUNCTION changes_since(tenant integer, since text DEFAULT NULL, max_rows integer DEFAULT 1000)
RETURNS TABLE (next_cursor text, conversation_id bigint, kind text, changed_columns text[], conversation_date date,
               changed_at timestamptz)
LANGUAGE plpgsql STABLE
SET search_path = %1$I, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    again CONSTANT text := 'Start again: forget what you have of this tenant, and call changes_since(tenant, NULL).';
    feed  text := left(md5(concat_ws('/', (SELECT system_identifier FROM pg_control_system()),
                                     (SELECT timeline_id FROM pg_control_checkpoint()),
                                     (SELECT oid FROM pg_database WHERE datname = current_database()),
                                     'conversation_change'::regclass::oid)), 8);
    newest   bigint;
    pruned   bigint := coalesce((SELECT f.pruned_to FROM conversation_feed f WHERE f.tenant_id = tenant), 0);
    -- changes up to here were read, or are in the rows of the first list
    reached  bigint;
    -- the last conversation of the first list that was read; NULL: the list was read
    listed   bigint;
BEGIN
    IF tenant IS NULL OR NOT EXISTS (SELECT FROM tenants t WHERE t.id = tenant) THEN
        RAISE EXCEPTION 'tenant %% is not visible to %%', tenant, session_user
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'A login of a dashboard runs SET app.current_tenant_id first; one that is bound to a tenant reads that one alone.';
    END IF;
    IF max_rows IS NULL OR max_rows NOT BETWEEN 1 AND 100000 THEN
        RAISE EXCEPTION 'max_rows is %%, and may be 1 to 100000', max_rows USING ERRCODE = 'invalid_parameter_value';
    END IF;
    newest := greatest((SELECT max(c.change_id) FROM conversation_change c WHERE c.tenant_id = tenant), pruned);
    IF since IS NULL THEN
        reached := newest;
        listed := -9223372036854775808;
    ELSIF since !~ '^[0-9a-f]{8}:[0-9]{1,18}(:-?[0-9]{1,18})?$' THEN
        RAISE EXCEPTION 'not a cursor of changes_since: %%', since USING ERRCODE = 'invalid_parameter_value';
    ELSE
        reached := split_part(since, ':', 2)::bigint;
        listed := nullif(split_part(since, ':', 3), '')::bigint;
        IF split_part(since, ':', 1) <> feed OR reached > newest THEN
            RAISE EXCEPTION 'the cursor is of another state of the database, before a restore, a move or a promotion'
                USING ERRCODE = 'TF410', HINT = again;
        END IF;
        IF reached < pruned THEN
            RAISE EXCEPTION 'changes behind the cursor were pruned, after the time of the setting retention.changes'
                USING ERRCODE = 'TF410', HINT = again;
        END IF;
    END IF;
    IF listed IS NOT NULL THEN
        RETURN QUERY
            SELECT feed || ':' || reached || CASE WHEN part.is_last THEN '' ELSE ':' || part.conversation_id END,
                   part.conversation_id, 'existing'::text, NULL::text[], part.conversation_date, part.etl_updated_at
            FROM (SELECT a.*, lead(a.conversation_id) OVER (ORDER BY a.conversation_id) IS NULL AS is_last
                  FROM (SELECT r.conversation_id, r.conversation_date, r.etl_updated_at FROM conversations_analytics r
                        WHERE r.tenant_id = tenant AND r.source_deleted_at IS NULL AND r.conversation_id > listed
                        ORDER BY r.conversation_id LIMIT max_rows + 1) a) part
            ORDER BY part.conversation_id LIMIT max_rows;
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    RETURN QUERY
        SELECT feed || ':' || c.change_id, c.conversation_id, c.kind, c.changed_columns, c.conversation_date, c.changed_at
        FROM conversation_change c
        WHERE c.tenant_id = tenant AND c.change_id > reached
        ORDER BY c.change_id LIMIT max_rows;
END
$function$
$create$, current_schema());
END
$migration$;
