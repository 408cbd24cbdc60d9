-- Webhooks: where finalizers report events, the messages that wait to be delivered, and the conditions that were reported.
-- The key that signs messages is in the settings of the finalizers, and not here.
CREATE TABLE etl_webhook (
    id         integer     NOT NULL GENERATED ALWAYS AS IDENTITY,
    url        text        NOT NULL,
    events     text[]      NOT NULL,
    -- only events of this tenant; NULL: of all, and of the sources
    tenant_id  integer,
    format     text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text        NOT NULL,
    CONSTRAINT etl_webhook_pkey PRIMARY KEY (id),
    CONSTRAINT etl_webhook_format CHECK (format IN ('json', 'slack')),
    CONSTRAINT etl_webhook_events CHECK (cardinality(events) > 0)
);

-- The messages: at least once each. A claim that was not settled ends by itself, and the message is sent again.
CREATE TABLE etl_webhook_delivery (
    id            bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    webhook_id    integer     NOT NULL,
    event         text        NOT NULL,
    tenant_id     integer,
    -- ids, counts and times; no personal data and no text of an error
    body          jsonb       NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    -- when it is sent next; while it is sent, when the claim ends
    due_at        timestamptz NOT NULL DEFAULT now(),
    -- the fencing token: it grows with every claim
    attempt       integer     NOT NULL DEFAULT 0,
    delivered_at  timestamptz,
    dead_at       timestamptz,
    -- of the last attempt
    status_code   integer,
    error         text,
    CONSTRAINT etl_webhook_delivery_pkey PRIMARY KEY (id),
    CONSTRAINT etl_webhook_delivery_webhook_fkey FOREIGN KEY (webhook_id) REFERENCES etl_webhook (id) ON DELETE CASCADE,
    CONSTRAINT etl_webhook_delivery_ended CHECK (delivered_at IS NULL OR dead_at IS NULL)
);

-- serves the finalizer's question which messages are due
CREATE INDEX etl_webhook_delivery_due_idx ON etl_webhook_delivery (webhook_id, due_at)
    WHERE delivered_at IS NULL AND dead_at IS NULL;
-- serves the list of a webhook's messages, and its removal
CREATE INDEX etl_webhook_delivery_webhook_idx ON etl_webhook_delivery (webhook_id, id DESC);

-- Conditions that hold and were reported to a webhook, so that each is reported once.
CREATE TABLE etl_webhook_condition (
    webhook_id integer     NOT NULL,
    event      text        NOT NULL,
    -- the tenant's id or the source's name
    subject    text        NOT NULL,
    tenant_id  integer,
    since      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT etl_webhook_condition_pkey PRIMARY KEY (webhook_id, event, subject),
    CONSTRAINT etl_webhook_condition_webhook_fkey FOREIGN KEY (webhook_id) REFERENCES etl_webhook (id) ON DELETE CASCADE
);

-- Whatever ends a run, its messages are written in that transaction.
CREATE FUNCTION queue_run_webhooks() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    ended text := 'run.' || CASE NEW.status WHEN 'success' THEN 'succeeded' ELSE NEW.status::text END;
BEGIN
    INSERT INTO etl_webhook_delivery (webhook_id, event, tenant_id, body)
    SELECT w.id, ended, NEW.tenant_id, jsonb_build_object(
        'run_id', NEW.id, 'tenant_id', NEW.tenant_id, 'type', NEW.type, 'status', NEW.status,
        'requested_at', NEW.requested_at, 'finished_at', NEW.finished_at, 'trace_id', NEW.trace_id,
        'chunks', jsonb_build_object('total', NEW.chunks_total, 'done', NEW.chunks_done, 'dead', NEW.chunks_dead),
        'records', jsonb_build_object(
            'extracted', NEW.records_extracted, 'inserted', NEW.records_inserted, 'updated', NEW.records_updated,
            'unchanged', NEW.records_unchanged, 'stale', NEW.records_stale, 'deleted', NEW.records_deleted,
            'rejected', NEW.records_rejected))
    FROM etl_webhook w
    WHERE ended = ANY (w.events) AND (w.tenant_id IS NULL OR w.tenant_id = NEW.tenant_id);
    RETURN NULL;
END
$$;

CREATE TRIGGER etl_control_queue_webhooks
    AFTER UPDATE ON etl_control
    FOR EACH ROW WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL)
    EXECUTE FUNCTION queue_run_webhooks();
-- a plan that fails before its run exists
CREATE TRIGGER etl_control_queue_webhooks_at_once
    AFTER INSERT ON etl_control
    FOR EACH ROW WHEN (NEW.finished_at IS NOT NULL)
    EXECUTE FUNCTION queue_run_webhooks();

DO $$
DECLARE
    webhooks text;
BEGIN
    FOREACH webhooks IN ARRAY ARRAY['etl_webhook', 'etl_webhook_delivery', 'etl_webhook_condition'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', webhooks);
        EXECUTE format('CREATE POLICY service ON %I TO etl_service USING (true) WITH CHECK (true)', webhooks);
        EXECUTE format('CREATE POLICY admin ON %I FOR SELECT TO admin_users USING (true)', webhooks);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO etl_service', webhooks);
        EXECUTE format('GRANT SELECT ON %I TO admin_users', webhooks);
    END LOOP;
END
$$;
GRANT SELECT ON SEQUENCE etl_webhook_id_seq, etl_webhook_delivery_id_seq TO admin_users;
