-- What people did: one row for each action of an operator, whether by command, console or token, written in the transaction of
-- the action. Rows are only added, and removed after `retention.audit`; no role may change one. Moves of watermarks and
-- accepted restores have audits of their own as well, which say more.
CREATE TABLE etl_action_audit (
    id        bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    acted_at  timestamptz NOT NULL DEFAULT now(),
    -- `cli:…`, `console:…` or `token:…`
    actor     text        NOT NULL,
    -- the machine and user of a command, the address of a request
    origin    text,
    action    text        NOT NULL,
    -- no foreign key: it would lock the tenant after everything else, against the lock order
    tenant_id integer,
    -- which run, chunk, inbox, source, webhook or user
    subject   text,
    reason    text,
    -- only what the action changed
    before    jsonb,
    after     jsonb,
    result    text        NOT NULL,
    CONSTRAINT etl_action_audit_pkey PRIMARY KEY (id),
    CONSTRAINT etl_action_audit_result CHECK (result IN ('begun', 'done', 'unchanged', 'refused', 'failed'))
);

-- serves `audit list --tenant`
CREATE INDEX etl_action_audit_tenant_idx ON etl_action_audit (tenant_id, id DESC);

ALTER TABLE etl_action_audit ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY service ON etl_action_audit TO etl_service USING (true) WITH CHECK (true);
CREATE POLICY admin ON etl_action_audit FOR SELECT TO admin_users USING (true);
GRANT SELECT, INSERT, DELETE ON etl_action_audit TO etl_service;
GRANT SELECT ON etl_action_audit TO admin_users;
GRANT SELECT ON SEQUENCE etl_action_audit_id_seq TO admin_users;
