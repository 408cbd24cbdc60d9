-- Who accepted a restored or swapped source, and why. The rows are only ever added to.
CREATE TABLE etl_source_audit (
    id          bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    source      text        NOT NULL,
    accepted_at timestamptz NOT NULL DEFAULT now(),
    actor       text        NOT NULL,
    reason      text        NOT NULL,
    epoch       integer     NOT NULL,
    -- the highest transaction id before, and the one that the source showed when it was accepted
    known_xmax  bigint      NOT NULL,
    seen_xmax   bigint      NOT NULL,
    CONSTRAINT etl_source_audit_pkey PRIMARY KEY (id),
    CONSTRAINT etl_source_audit_reason_not_empty CHECK (reason <> '')
);

GRANT SELECT, INSERT ON etl_source_audit TO etl_service;
GRANT SELECT ON etl_source_audit TO admin_users;
