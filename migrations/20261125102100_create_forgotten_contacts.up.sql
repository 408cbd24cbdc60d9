-- Contacts whose conversations and texts stay out of the target, with who asked for it: rows are added and never changed.
CREATE TABLE etl_forgotten_contact (
    tenant_id    integer     NOT NULL,
    contact_id   bigint      NOT NULL,
    forgotten_at timestamptz NOT NULL DEFAULT now(),
    forgotten_by text        NOT NULL,
    reason       text,
    CONSTRAINT etl_forgotten_contact_pkey PRIMARY KEY (tenant_id, contact_id),
    CONSTRAINT etl_forgotten_contact_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id)
);

-- Their conversations that the source still has, as they were last read there. Planning counts them with the rows of the
-- target: else each plan would find them missing. No personal data is in it.
CREATE TABLE etl_withheld_conversation (
    tenant_id       integer NOT NULL,
    conversation_id bigint  NOT NULL,
    contact_id      bigint  NOT NULL,
    inbox_id        integer NOT NULL,
    source_digest   bigint  NOT NULL,
    CONSTRAINT etl_withheld_conversation_pkey PRIMARY KEY (tenant_id, conversation_id),
    CONSTRAINT etl_withheld_conversation_contact_fkey FOREIGN KEY (tenant_id, contact_id)
        REFERENCES etl_forgotten_contact (tenant_id, contact_id) ON DELETE CASCADE
);
-- serves the cascade from etl_forgotten_contact
CREATE INDEX etl_withheld_conversation_contact_idx ON etl_withheld_conversation (tenant_id, contact_id);

ALTER TABLE etl_forgotten_contact ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY service ON etl_forgotten_contact TO etl_service USING (true) WITH CHECK (true);
CREATE POLICY admin ON etl_forgotten_contact FOR SELECT TO admin_users USING (true);
GRANT SELECT, INSERT ON etl_forgotten_contact TO etl_service;
GRANT SELECT ON etl_forgotten_contact TO admin_users;

ALTER TABLE etl_withheld_conversation ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY service ON etl_withheld_conversation TO etl_service USING (true) WITH CHECK (true);
CREATE POLICY admin ON etl_withheld_conversation FOR SELECT TO admin_users USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON etl_withheld_conversation TO etl_service;
GRANT SELECT ON etl_withheld_conversation TO admin_users;
