-- Agents, bots and assistants that have written messages of a tenant, each with the first and the last of these messages. When
-- one of them is deleted in Chatwoot, its messages lose their sender and no timestamp moves: a plan looks at the two messages,
-- and where one has another sender now it asks for a backfill of the conversations that the sender wrote in. The entry goes
-- with that request, and comes back with the next chunk that reads a message of the sender. Contacts are not noted.
CREATE TABLE etl_sender (
    tenant_id        integer NOT NULL,
    sender_type      text    NOT NULL,
    sender_id        bigint  NOT NULL,
    first_message_id bigint  NOT NULL,
    last_message_id  bigint  NOT NULL,
    CONSTRAINT etl_sender_pkey PRIMARY KEY (tenant_id, sender_type, sender_id),
    CONSTRAINT etl_sender_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id),
    CONSTRAINT etl_sender_messages CHECK (first_message_id <= last_message_id)
);

ALTER TABLE etl_sender ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY service ON etl_sender TO etl_service USING (true) WITH CHECK (true);
CREATE POLICY admin ON etl_sender FOR SELECT TO admin_users USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON etl_sender TO etl_service;
GRANT SELECT ON etl_sender TO admin_users;
