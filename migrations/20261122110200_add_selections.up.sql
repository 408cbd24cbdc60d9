-- Runs that follow no watermark take a selection. The same open request again finds the open run, and two schedulers
-- that ask at once get one.
CREATE UNIQUE INDEX etl_control_one_open_selection_idx
    ON etl_control (tenant_id, type, md5(coalesce((request -> 'selection')::text, '')))
    WHERE finished_at IS NULL AND type NOT IN ('incremental', 'full');
-- serves the scheduler: backfills that have failed and are asked for again
CREATE INDEX etl_control_failed_backfill_idx ON etl_control (finished_at)
    WHERE type = 'backfill' AND status = 'failed';
-- serves the scheduler and planning: inboxes whose history still has to be fetched
CREATE INDEX inbox_tenant_mapping_unfetched_idx ON inbox_tenant_mapping (tenant_id) WHERE backfilled_at IS NULL;

-- Names are copied into rows, and a touched row at the source is not always a renamed one (users are touched by every
-- login): the digest of the names that the tenant's rows have, or that a backfill has been asked for.
CREATE TABLE etl_name (
    tenant_id integer NOT NULL,
    kind      text    NOT NULL,
    id        bigint  NOT NULL,
    digest    text    NOT NULL,
    CONSTRAINT etl_name_pkey PRIMARY KEY (tenant_id, kind, id),
    CONSTRAINT etl_name_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id),
    CONSTRAINT etl_name_kind CHECK (kind IN ('inbox', 'account', 'user', 'team'))
);

ALTER TABLE etl_name ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY service ON etl_name TO etl_service USING (true) WITH CHECK (true);
CREATE POLICY admin ON etl_name FOR SELECT TO admin_users USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON etl_name TO etl_service;
GRANT SELECT ON etl_name TO admin_users;
