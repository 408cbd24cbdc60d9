-- One action on many things: a job with the items that were chosen when it was prepared. Whoever holds a job acts on one item
-- after the other. Each item ends in the transaction of its action, so a job that another process takes over acts on each once.
CREATE TABLE etl_bulk (
    id            bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    -- `tenant.pause`, `run.cancel`, …
    action        text        NOT NULL,
    -- what the items were chosen by
    filter        jsonb       NOT NULL,
    reason        text,
    actor         text        NOT NULL,
    origin        text,
    status        text        NOT NULL DEFAULT 'prepared',
    created_at    timestamptz NOT NULL DEFAULT now(),
    started_at    timestamptz,
    finished_at   timestamptz,
    item_count    integer     NOT NULL,
    -- conversations, where an item has several; else as item_count
    object_count  integer     NOT NULL,
    done_count    integer     NOT NULL DEFAULT 0,
    skipped_count integer     NOT NULL DEFAULT 0,
    failed_count  integer     NOT NULL DEFAULT 0,
    -- who works on it, and until when without another sign
    worker_id     text,
    lease_until   timestamptz,
    CONSTRAINT etl_bulk_pkey PRIMARY KEY (id),
    CONSTRAINT etl_bulk_status CHECK (status IN ('prepared', 'running', 'done', 'stopped'))
);

-- serves whoever looks for a job to work on
CREATE INDEX etl_bulk_running_idx ON etl_bulk (id) WHERE status = 'running';

CREATE TABLE etl_bulk_item (
    bulk_id          bigint      NOT NULL,
    seq              integer     NOT NULL,
    -- no foreign key: it would lock the tenant after everything else, against the lock order
    tenant_id        integer     NOT NULL,
    run_id           bigint,
    chunk_seq        integer,
    conversation_ids jsonb,
    status           text        NOT NULL DEFAULT 'pending',
    -- why it was skipped, as a word: `not_paused`, `run_ended`, …
    outcome          text,
    -- the run that was requested
    new_run_id       bigint,
    error            text,
    finished_at      timestamptz,
    CONSTRAINT etl_bulk_item_pkey PRIMARY KEY (bulk_id, seq),
    CONSTRAINT etl_bulk_item_bulk_fkey FOREIGN KEY (bulk_id) REFERENCES etl_bulk (id) ON DELETE CASCADE,
    CONSTRAINT etl_bulk_item_status CHECK (status IN ('pending', 'done', 'skipped', 'failed'))
);

-- serves the question which item is next
CREATE INDEX etl_bulk_item_pending_idx ON etl_bulk_item (bulk_id, seq) WHERE status = 'pending';

DO $$
DECLARE
    bulk text;
BEGIN
    FOREACH bulk IN ARRAY ARRAY['etl_bulk', 'etl_bulk_item'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', bulk);
        EXECUTE format('CREATE POLICY service ON %I TO etl_service USING (true) WITH CHECK (true)', bulk);
        EXECUTE format('CREATE POLICY console ON %I TO console_service USING (true) WITH CHECK (true)', bulk);
        EXECUTE format('CREATE POLICY admin ON %I FOR SELECT TO admin_users USING (true)', bulk);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO etl_service, console_service', bulk);
        EXECUTE format('GRANT SELECT ON %I TO admin_users', bulk);
    END LOOP;
END
$$;
GRANT SELECT ON SEQUENCE etl_bulk_id_seq TO admin_users;
