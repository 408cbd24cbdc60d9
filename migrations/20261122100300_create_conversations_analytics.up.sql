-- The target: one row a conversation of a tenant. Column order and meaning: docs/ARCHITECTURE.md points to the list in
-- crates/worker/src/load/columns.rs, which a test compares with this table.
CREATE TABLE conversations_analytics (
    -- identity and place
    tenant_id                         integer NOT NULL,
    conversation_id                   bigint NOT NULL,
    display_id                        integer,
    conversation_uuid                 uuid,
    account_id                        integer,
    account_name                      varchar(255),
    inbox_id                          integer,
    inbox_name                        varchar(255),
    inbox_channel_type                varchar(50),
    inbox_timezone                    varchar(50),
    campaign_id                       bigint,
    labels                            text[] NOT NULL DEFAULT '{}',
    conversation_custom_attributes    jsonb,
    -- status, priority, assignment
    status                            integer,
    status_label_pt                   varchar(50),
    is_resolved                       boolean NOT NULL,
    is_open                           boolean NOT NULL,
    is_pending                        boolean NOT NULL,
    is_snoozed                        boolean NOT NULL,
    priority                          integer,
    priority_label                    varchar(20),
    priority_score                    integer NOT NULL,
    has_priority                      boolean NOT NULL,
    is_high_priority                  boolean NOT NULL,
    snoozed_until                     timestamptz,
    assignee_id                       integer,
    assignee_name                     varchar(255),
    assignee_email                    varchar(255),
    team_id                           bigint,
    team_name                         varchar(255),
    is_assigned                       boolean NOT NULL,
    has_team                          boolean NOT NULL,
    has_contact                       boolean NOT NULL,
    is_from_campaign                  boolean NOT NULL,
    -- contact
    contact_id                        bigint,
    contact_name                      varchar(255),
    contact_email                     varchar(255),
    contact_identifier                varchar(255),
    client_sender_id                  bigint,
    client_phone                      varchar(50),
    contact_phone                     varchar(50),
    -- times
    conversation_created_at           timestamptz,
    conversation_updated_at           timestamptz,
    last_activity_at                  timestamptz,
    first_reply_created_at            timestamptz,
    waiting_since                     timestamptz,
    contact_last_seen_at              timestamptz,
    agent_last_seen_at                timestamptz,
    first_response_time_seconds       integer,
    first_response_time_minutes       numeric(12,1),
    resolution_time_seconds           integer,
    is_fast_response                  boolean,
    is_slow_response                  boolean,
    is_fast_resolution                boolean,
    is_waiting                        boolean NOT NULL,
    contact_has_seen                  boolean NOT NULL,
    agent_has_seen                    boolean NOT NULL,
    -- messages
    message_compiled                  jsonb,
    t_messages                        integer NOT NULL,
    total_messages_public             integer NOT NULL,
    total_messages_private            integer NOT NULL,
    user_messages_count               integer NOT NULL,
    contact_messages_count            integer NOT NULL,
    system_messages_count             integer NOT NULL,
    private_notes_count               integer NOT NULL,
    mc_first_message_at               timestamptz,
    mc_last_message_at                timestamptz,
    first_message_text                text,
    last_message_text                 text,
    first_message_sender_type         varchar(50),
    last_message_sender_type          varchar(50),
    conversation_duration_seconds     integer,
    avg_time_between_messages_seconds numeric(14,1),
    avg_message_length                integer,
    max_message_length                integer,
    has_user_messages                 boolean NOT NULL,
    has_contact_messages              boolean NOT NULL,
    has_private_notes                 boolean NOT NULL,
    has_contact_reply                 boolean NOT NULL,
    is_short_conversation             boolean NOT NULL,
    is_long_conversation              boolean NOT NULL,
    user_message_ratio                numeric(5,2) NOT NULL,
    contact_message_ratio             numeric(5,2) NOT NULL,
    has_human_intervention            boolean NOT NULL,
    is_bot_resolved                   boolean NOT NULL,
    -- satisfaction
    csat_response_id                  bigint,
    csat_rating                       integer,
    csat_feedback                     text,
    csat_created_at                   timestamptz,
    csat_nps_category                 text,
    csat_sentiment_category           text,
    has_csat                          boolean NOT NULL,
    has_written_feedback              boolean NOT NULL,
    has_detailed_feedback             boolean NOT NULL,
    -- calendar, local to the tenant
    conversation_date                 date,
    conversation_year                 integer,
    conversation_month                integer,
    conversation_day                  integer,
    conversation_hour                 integer,
    conversation_minute               integer,
    conversation_quarter              integer,
    conversation_day_of_week          integer,
    conversation_week_of_year         integer,
    conversation_day_name             text,
    conversation_month_name           text,
    conversation_period               text,
    is_weekday                        boolean,
    is_weekend                        boolean,
    is_business_hours                 boolean,
    is_night_time                     boolean,
    conversation_date_formatted       text,
    conversation_datetime_formatted   text,
    conversation_year_month           text,
    conversation_year_week            text,
    -- bookkeeping
    etl_run_id                        bigint NOT NULL,
    etl_inserted_at                   timestamptz NOT NULL DEFAULT now(),
    etl_updated_at                    timestamptz NOT NULL DEFAULT now(),
    source_extracted_at               timestamptz NOT NULL,
    row_hash                          bytea NOT NULL,
    source_deleted_at                 timestamptz,
    -- digest of the conversation's own row at the source, computed there: planning compares sums of it
    source_digest                     bigint NOT NULL,
    -- the version of the source that was read; with source_extracted_at it tells the older of two reads
    source_epoch                      integer NOT NULL,
    source_xmax                       bigint NOT NULL,
    source_in_progress                integer NOT NULL,
    -- what planning compares rides along, so that it never touches the wide table
    CONSTRAINT conversations_analytics_pkey
        PRIMARY KEY (tenant_id, conversation_id) INCLUDE (source_deleted_at, source_digest),
    CONSTRAINT conversations_analytics_row_hash_length CHECK (octet_length(row_hash) = 16)
);

-- serves a tenant dashboard's date filter
CREATE INDEX conversations_analytics_date_idx ON conversations_analytics (tenant_id, conversation_date);

-- serves planning: a changed contact who wrote in a conversation of somebody else, which are few
CREATE INDEX conversations_analytics_client_idx ON conversations_analytics (tenant_id, client_sender_id)
    WHERE client_sender_id IS DISTINCT FROM contact_id AND client_sender_id IS NOT NULL;

-- lz4 compresses these about a quarter faster than pglz; servers before 14, or built without it, keep pglz
DO $$
DECLARE
    wide text;
BEGIN
    FOREACH wide IN ARRAY ARRAY['message_compiled', 'conversation_custom_attributes',
                                'first_message_text', 'last_message_text', 'csat_feedback'] LOOP
        EXECUTE format('ALTER TABLE conversations_analytics ALTER COLUMN %I SET COMPRESSION lz4', wide);
    END LOOP;
EXCEPTION WHEN syntax_error OR feature_not_supported OR invalid_parameter_value THEN
    RAISE NOTICE 'this server has no lz4: the default compression stays';
END
$$;
