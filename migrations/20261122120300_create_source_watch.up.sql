-- How each source looked when a producer last sampled it: `tidemark status` and the metrics read it, nothing decides by it.
CREATE TABLE etl_source_watch (
    source        text        NOT NULL,
    -- by the source's clock; NULL: never reached
    looked_at     timestamptz,
    -- how far watermarks may go; NULL: a transaction is open that is older than every sample
    fence_at      timestamptz,
    -- the oldest writing transaction of the source's database: who, and since when; NULL: none was open
    holder        jsonb,
    -- set while the source cannot be sampled
    error         text,
    failing_since timestamptz,
    written_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT etl_source_watch_pkey PRIMARY KEY (source),
    CONSTRAINT etl_source_watch_failing_has_error CHECK ((error IS NULL) = (failing_since IS NULL))
);

GRANT SELECT, INSERT, UPDATE ON etl_source_watch TO etl_service;
GRANT SELECT ON etl_source_watch TO admin_users;
