-- Comparisons as runs: how often a tenant is compared, what each chunk found, and which rows are at fault.
ALTER TABLE tenants
    -- NULL: only when somebody asks
    ADD COLUMN verify_interval interval,
    ADD CONSTRAINT tenants_verify_interval_positive CHECK (verify_interval > interval '0');

ALTER TABLE etl_verification
    -- NULL: a command compared by itself
    ADD COLUMN run_id   bigint,
    ADD COLUMN stale    bigint NOT NULL DEFAULT 0,
    ADD COLUMN pending  bigint NOT NULL DEFAULT 0,
    ADD COLUMN unproven bigint NOT NULL DEFAULT 0;

CREATE TABLE etl_verification_part (
    run_id             bigint      NOT NULL,
    seq                integer     NOT NULL,
    tenant_id          integer     NOT NULL,
    noted_at           timestamptz NOT NULL DEFAULT now(),
    -- the version of the source that was compared first
    source_epoch       integer     NOT NULL,
    source_xmax        bigint      NOT NULL,
    source_in_progress integer     NOT NULL,
    source_looked_at   timestamptz NOT NULL,
    -- false: rows were not the same, and are looked at once more when a sync had its turn
    is_settled         boolean     NOT NULL,
    -- how many faults are listed; fewer than there are when they are too many to list
    fault_count        bigint      NOT NULL,
    source_rows        bigint      NOT NULL,
    target_rows        bigint      NOT NULL,
    missing            bigint      NOT NULL,
    extra              bigint      NOT NULL,
    stale              bigint      NOT NULL,
    different          bigint      NOT NULL,
    pending            bigint      NOT NULL,
    unproven           bigint      NOT NULL,
    CONSTRAINT etl_verification_part_pkey PRIMARY KEY (run_id, seq),
    CONSTRAINT etl_verification_part_run_fkey FOREIGN KEY (run_id) REFERENCES etl_control (id) ON DELETE CASCADE
);

CREATE TABLE etl_verification_fault (
    run_id          bigint  NOT NULL,
    seq             integer NOT NULL,
    conversation_id bigint  NOT NULL,
    tenant_id       integer NOT NULL,
    kind            text    NOT NULL,
    -- names of the columns that differ, never what is in them
    columns         text[]  NOT NULL,
    CONSTRAINT etl_verification_fault_pkey PRIMARY KEY (run_id, seq, conversation_id),
    CONSTRAINT etl_verification_fault_run_fkey FOREIGN KEY (run_id) REFERENCES etl_control (id) ON DELETE CASCADE,
    CONSTRAINT etl_verification_fault_kind CHECK (kind IN ('missing', 'extra', 'stale', 'different', 'unproven'))
);

-- serves the scheduler: when a tenant was last compared
CREATE INDEX etl_control_verify_idx ON etl_control (tenant_id, requested_at DESC) WHERE type = 'verify';

ALTER TABLE etl_verification_part ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY service ON etl_verification_part TO etl_service USING (true) WITH CHECK (true);
CREATE POLICY admin ON etl_verification_part FOR SELECT TO admin_users USING (true);
ALTER TABLE etl_verification_fault ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY service ON etl_verification_fault TO etl_service USING (true) WITH CHECK (true);
CREATE POLICY admin ON etl_verification_fault FOR SELECT TO admin_users USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON etl_verification_part, etl_verification_fault TO etl_service;
GRANT SELECT ON etl_verification_part, etl_verification_fault TO admin_users;
