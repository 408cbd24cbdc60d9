-- What the last comparison of a tenant's rows with its source found: for metrics and status.
CREATE TABLE etl_verification (
    tenant_id   integer     NOT NULL,
    verified_at timestamptz NOT NULL DEFAULT now(),
    source_rows bigint      NOT NULL,
    target_rows bigint      NOT NULL,
    missing     bigint      NOT NULL,
    extra       bigint      NOT NULL,
    different   bigint      NOT NULL,
    CONSTRAINT etl_verification_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT etl_verification_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

ALTER TABLE etl_verification ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY service ON etl_verification TO etl_service USING (true) WITH CHECK (true);
CREATE POLICY admin ON etl_verification FOR SELECT TO admin_users USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON etl_verification TO etl_service;
GRANT SELECT ON etl_verification TO admin_users;
