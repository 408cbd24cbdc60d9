-- A moment in which a tenant's live rows were those of its source, bucket by bucket, while no run of the tenant was open.
-- As long as no run of it has begun or ended since and its inboxes are the same, the target holds the same rows still: a
-- plan compares the source's totals with these and does not ask the target.
CREATE TABLE etl_agreement (
    tenant_id          integer     NOT NULL,
    mapping_version    bigint      NOT NULL,
    -- the tenant's newest run at that moment, and the last end of one; NULL: it had none
    newest_run_id      bigint,
    last_finished_at   timestamptz,
    conversation_count bigint      NOT NULL,
    -- sum of the conversations' digests
    digest             numeric     NOT NULL,
    agreed_at          timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT etl_agreement_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT etl_agreement_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

ALTER TABLE etl_agreement ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY service ON etl_agreement TO etl_service USING (true) WITH CHECK (true);
CREATE POLICY admin ON etl_agreement FOR SELECT TO admin_users USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON etl_agreement TO etl_service;
GRANT SELECT ON etl_agreement TO admin_users;

-- serves the look whether a run of the tenant is open, and when the last one ended
CREATE INDEX etl_control_finished_idx ON etl_control (tenant_id, finished_at);
