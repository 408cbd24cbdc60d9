-- Inboxes of tenants' Chatwoot accounts that no tenant has, as the last plan of the account saw them. `status`, `doctor` and
-- `verify` name them without asking the source.
CREATE TABLE etl_unsynced_inbox (
    source       text        NOT NULL,
    inbox_id     integer     NOT NULL,
    account_id   integer     NOT NULL,
    inbox_name   text,
    channel_type text,
    -- why no plan maps it
    reason       text        NOT NULL,
    -- the tenant that the next step is about; NULL: an operator has to choose one
    tenant_id    integer,
    found_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT etl_unsynced_inbox_pkey PRIMARY KEY (source, inbox_id),
    CONSTRAINT etl_unsynced_inbox_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id),
    CONSTRAINT etl_unsynced_inbox_reason CHECK (reason IN ('unmapped', 'discover_off', 'several_tenants', 'no_account'))
);

ALTER TABLE etl_unsynced_inbox ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY service ON etl_unsynced_inbox TO etl_service USING (true) WITH CHECK (true);
CREATE POLICY admin ON etl_unsynced_inbox FOR SELECT TO admin_users USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON etl_unsynced_inbox TO etl_service;
GRANT SELECT ON etl_unsynced_inbox TO admin_users;
