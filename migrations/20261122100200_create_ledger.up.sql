-- The ledger: runs, chunks, watermarks. PostgreSQL is the truth, the broker only carries what stands here.
CREATE TYPE etl_run_type AS ENUM ('incremental', 'full', 'resync', 'backfill', 'repair');
CREATE TYPE etl_run_status AS ENUM
    ('requested', 'planning', 'running', 'success', 'partial', 'failed', 'cancelled');
CREATE TYPE etl_lane AS ENUM ('live', 'bulk');
CREATE TYPE etl_chunk_status AS ENUM ('pending', 'queued', 'running', 'done', 'dead', 'cancelled');

CREATE TABLE etl_control (
    id                bigint         NOT NULL GENERATED ALWAYS AS IDENTITY,
    tenant_id         integer        NOT NULL,
    type              etl_run_type   NOT NULL,
    status            etl_run_status NOT NULL DEFAULT 'requested',
    triggered_by      text           NOT NULL,
    reason            text,
    request           jsonb          NOT NULL DEFAULT '{}',
    -- while planning: until when the planner's claim holds
    planner           text,
    planning_until    timestamptz,
    mapping_version   bigint,
    watermark_start   timestamptz,
    watermark_end     timestamptz,
    signals           jsonb          NOT NULL DEFAULT '{}',
    chunks_total      integer        NOT NULL DEFAULT 0,
    chunks_done       integer        NOT NULL DEFAULT 0,
    chunks_dead       integer        NOT NULL DEFAULT 0,
    records_extracted bigint         NOT NULL DEFAULT 0,
    records_inserted  bigint         NOT NULL DEFAULT 0,
    records_updated   bigint         NOT NULL DEFAULT 0,
    records_unchanged bigint         NOT NULL DEFAULT 0,
    records_stale     bigint         NOT NULL DEFAULT 0,
    records_deleted   bigint         NOT NULL DEFAULT 0,
    records_rejected  bigint         NOT NULL DEFAULT 0,
    requested_at      timestamptz    NOT NULL DEFAULT now(),
    started_at        timestamptz,
    finished_at       timestamptz,
    error_message     text,
    error_details     jsonb,
    warnings          jsonb          NOT NULL DEFAULT '[]',
    trace_id          text,
    traceparent       text,
    etl_version       text,
    CONSTRAINT etl_control_pkey PRIMARY KEY (id),
    CONSTRAINT etl_control_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id),
    CONSTRAINT etl_control_finished CHECK
        ((status IN ('success', 'partial', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CONSTRAINT etl_control_watermark_forward CHECK (watermark_end >= watermark_start)
);

-- one open incremental-or-full run a tenant: the same request again finds the open run
CREATE UNIQUE INDEX etl_control_one_open_idx ON etl_control (tenant_id)
    WHERE finished_at IS NULL AND type IN ('incremental', 'full');
-- serves the loops of producer and finalizer, which look at open runs only
CREATE INDEX etl_control_open_idx ON etl_control (status, id) WHERE finished_at IS NULL;
-- serves `run list`
CREATE INDEX etl_control_tenant_idx ON etl_control (tenant_id, id DESC);

CREATE TABLE etl_chunk (
    run_id          bigint           NOT NULL,
    seq             integer          NOT NULL,
    tenant_id       integer          NOT NULL,
    lane            etl_lane         NOT NULL,
    spec            jsonb            NOT NULL,
    -- keys in the spec; for a range the plan's count
    key_count       bigint           NOT NULL,
    status          etl_chunk_status NOT NULL DEFAULT 'pending',
    -- the fencing token: grows with every claim, and only its holder may finish the chunk
    attempt         integer          NOT NULL DEFAULT 0,
    failure_count   integer          NOT NULL DEFAULT 0,
    lost_count      integer          NOT NULL DEFAULT 0,
    worker_id       text,
    lease_until     timestamptz,
    next_attempt_at timestamptz      NOT NULL DEFAULT now(),
    queued_at       timestamptz,
    published_at    timestamptz,
    publish_count   integer          NOT NULL DEFAULT 0,
    traceparent     text,
    tracestate      text,
    extracted       bigint           NOT NULL DEFAULT 0,
    inserted        bigint           NOT NULL DEFAULT 0,
    updated         bigint           NOT NULL DEFAULT 0,
    unchanged       bigint           NOT NULL DEFAULT 0,
    stale           bigint           NOT NULL DEFAULT 0,
    deleted         bigint           NOT NULL DEFAULT 0,
    rejected        bigint           NOT NULL DEFAULT 0,
    gone            bigint           NOT NULL DEFAULT 0,
    error           text,
    created_at      timestamptz      NOT NULL DEFAULT now(),
    started_at      timestamptz,
    finished_at     timestamptz,
    CONSTRAINT etl_chunk_pkey PRIMARY KEY (run_id, seq),
    CONSTRAINT etl_chunk_run_fkey FOREIGN KEY (run_id) REFERENCES etl_control (id) ON DELETE CASCADE,
    CONSTRAINT etl_chunk_finished CHECK ((status IN ('done', 'dead', 'cancelled')) = (finished_at IS NOT NULL)),
    CONSTRAINT etl_chunk_leased CHECK ((status = 'running') = (lease_until IS NOT NULL)),
    CONSTRAINT etl_chunk_queued CHECK (status <> 'queued' OR queued_at IS NOT NULL)
);

-- serves dispatch: what is due, a tenant and a lane at a time
CREATE INDEX etl_chunk_pending_idx ON etl_chunk (tenant_id, lane, run_id, seq) WHERE status = 'pending';
-- serves the in-flight limits and rescue
CREATE INDEX etl_chunk_in_flight_idx ON etl_chunk (tenant_id) WHERE status IN ('queued', 'running');

CREATE TABLE etl_watermark (
    tenant_id            integer     NOT NULL,
    watermark            timestamptz,
    run_id               bigint,
    advanced_at          timestamptz,
    checked_at           timestamptz,
    consecutive_failures integer     NOT NULL DEFAULT 0,
    next_due_at          timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT etl_watermark_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT etl_watermark_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id)
);

-- a tenant's first sync is due one interval after it was added
CREATE FUNCTION start_watermark() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO etl_watermark (tenant_id, next_due_at) VALUES (NEW.id, now() + NEW.sync_interval);
    RETURN NULL;
END
$$;

CREATE TRIGGER tenants_start_watermark
    AFTER INSERT ON tenants
    FOR EACH ROW EXECUTE FUNCTION start_watermark();

-- every move, with the run or the person that moved it
CREATE TABLE etl_watermark_audit (
    id        bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    tenant_id integer     NOT NULL,
    moved_at  timestamptz NOT NULL DEFAULT now(),
    old       timestamptz,
    new       timestamptz,
    run_id    bigint,
    actor     text,
    reason    text,
    CONSTRAINT etl_watermark_audit_pkey PRIMARY KEY (id),
    CONSTRAINT etl_watermark_audit_who CHECK (run_id IS NOT NULL OR (actor IS NOT NULL AND reason IS NOT NULL))
);

CREATE INDEX etl_watermark_audit_tenant_idx ON etl_watermark_audit (tenant_id, id DESC);

-- rows that could not be taken; no cell value is kept here
CREATE TABLE etl_rejected_row (
    tenant_id       integer     NOT NULL,
    conversation_id bigint      NOT NULL,
    run_id          bigint      NOT NULL,
    chunk_seq       integer     NOT NULL,
    side            text        NOT NULL,
    sqlstate        text,
    error           text        NOT NULL,
    first_seen_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at    timestamptz NOT NULL DEFAULT now(),
    attempts        integer     NOT NULL DEFAULT 1,
    resolved_at     timestamptz,
    CONSTRAINT etl_rejected_row_pkey PRIMARY KEY (tenant_id, conversation_id),
    CONSTRAINT etl_rejected_row_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id),
    CONSTRAINT etl_rejected_row_side CHECK (side IN ('source', 'transform', 'target'))
);

-- serves planning: the tenant's open rejects are tried again by every later run
CREATE INDEX etl_rejected_row_open_idx ON etl_rejected_row (tenant_id) WHERE resolved_at IS NULL;

-- What is known of a source's identity in time. `epoch` grows when an operator accepts a restored source.
CREATE TABLE etl_source (
    name         text    NOT NULL,
    epoch        integer NOT NULL DEFAULT 1,
    -- the highest transaction id seen: a source that shows a lower one has been restored or swapped
    highest_xmax bigint  NOT NULL,
    CONSTRAINT etl_source_pkey PRIMARY KEY (name)
);

-- Samples of a source: everything written before sampled_at (its clock) belongs to a transaction <= hi.
CREATE TABLE etl_fence (
    source     text        NOT NULL,
    epoch      integer     NOT NULL,
    sampled_at timestamptz NOT NULL,
    hi         bigint      NOT NULL,
    CONSTRAINT etl_fence_pkey PRIMARY KEY (source, epoch, sampled_at)
);

-- who is running: `status`, `doctor` and the console read it
CREATE TABLE etl_process (
    instance     text        NOT NULL,
    role         text        NOT NULL,
    host         text        NOT NULL,
    version      text        NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    doing        text,
    CONSTRAINT etl_process_pkey PRIMARY KEY (instance)
);
