-- Who is kept in step, and which inboxes are whose.
CREATE TYPE tenant_status AS ENUM ('active', 'suspended', 'cancelled', 'trial');

CREATE TABLE tenants (
    id              integer     NOT NULL,
    name            text        NOT NULL,
    slug            text        NOT NULL,
    status          tenant_status NOT NULL DEFAULT 'active',
    source          text        NOT NULL DEFAULT 'main',
    account_id      integer,
    timezone        text        NOT NULL DEFAULT 'UTC',
    sync_interval   interval    NOT NULL DEFAULT interval '5 minutes',
    lookback        interval    NOT NULL DEFAULT interval '2 minutes',
    chunk_size      integer     NOT NULL DEFAULT 1000,
    max_in_flight   integer     NOT NULL DEFAULT 8,
    -- grows with every change of the tenant's inboxes: work planned under an older mapping is refused
    mapping_version bigint      NOT NULL DEFAULT 1,
    paused_at       timestamptz,
    pause_reason    text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    deleted_at      timestamptz,
    CONSTRAINT tenants_pkey PRIMARY KEY (id),
    CONSTRAINT tenants_slug_key UNIQUE (slug),
    CONSTRAINT tenants_id_positive CHECK (id > 0),
    CONSTRAINT tenants_name_not_empty CHECK (name <> ''),
    CONSTRAINT tenants_chunk_size_range CHECK (chunk_size BETWEEN 1 AND 50000),
    CONSTRAINT tenants_max_in_flight_range CHECK (max_in_flight BETWEEN 1 AND 1000),
    CONSTRAINT tenants_sync_interval_positive CHECK (sync_interval > interval '0'),
    CONSTRAINT tenants_lookback_not_negative CHECK (lookback >= interval '0')
);

-- The primary key says it: an inbox has one tenant.
CREATE TABLE inbox_tenant_mapping (
    source        text        NOT NULL DEFAULT 'main',
    inbox_id      integer     NOT NULL,
    tenant_id     integer     NOT NULL,
    inbox_name    text,
    channel_type  text,
    is_active     boolean     NOT NULL DEFAULT true,
    -- NULL: its history still has to be fetched
    backfilled_at timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT inbox_tenant_mapping_pkey PRIMARY KEY (source, inbox_id),
    CONSTRAINT inbox_tenant_mapping_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id)
);

-- serves "the inboxes of a tenant", asked by every plan and every chunk
CREATE INDEX inbox_tenant_mapping_tenant_idx ON inbox_tenant_mapping (tenant_id);

CREATE FUNCTION bump_mapping_version() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE tenants
    SET mapping_version = mapping_version + 1, updated_at = now()
    WHERE id IN (
        CASE WHEN TG_OP <> 'INSERT' THEN OLD.tenant_id END,
        CASE WHEN TG_OP <> 'DELETE' THEN NEW.tenant_id END
    );
    RETURN NULL;
END
$$;

CREATE TRIGGER inbox_tenant_mapping_bump
    AFTER INSERT OR DELETE OR UPDATE OF tenant_id, is_active ON inbox_tenant_mapping
    FOR EACH ROW EXECUTE FUNCTION bump_mapping_version();
