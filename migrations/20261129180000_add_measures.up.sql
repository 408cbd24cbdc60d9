-- Chatwoot's own measures, who handled a conversation, and further columns of the rows that it refers to. All are NULL
-- until the tenant's backfill has written its rows: a table is not rewritten here.
ALTER TABLE conversations_analytics
    ADD COLUMN events_compiled                          jsonb,
    ADD COLUMN reported_first_response_seconds          numeric(12,1),
    ADD COLUMN reported_first_response_business_seconds numeric(12,1),
    ADD COLUMN first_responder_id                       integer,
    ADD COLUMN reported_reply_seconds_avg               numeric(12,1),
    ADD COLUMN reply_count                              integer,
    ADD COLUMN resolution_count                         integer,
    ADD COLUMN first_resolved_at                        timestamptz,
    ADD COLUMN last_resolved_at                         timestamptz,
    ADD COLUMN resolved_at                              timestamptz,
    ADD COLUMN reported_resolution_seconds              numeric(12,1),
    ADD COLUMN reported_resolution_business_seconds     numeric(12,1),
    ADD COLUMN reopened_count                           integer,
    ADD COLUMN bot_handoff_at                           timestamptz,
    ADD COLUMN was_bot_resolved                         boolean,
    ADD COLUMN agent_messages_count                     integer,
    ADD COLUMN bot_messages_count                       integer,
    ADD COLUMN ai_messages_count                        integer,
    ADD COLUMN activity_messages_count                  integer,
    ADD COLUMN template_messages_count                  integer,
    ADD COLUMN automation_messages_count                integer,
    ADD COLUMN deleted_messages_count                   integer,
    ADD COLUMN failed_messages_count                    integer,
    ADD COLUMN csat_requests_count                      integer,
    ADD COLUMN csat_responses_count                     integer,
    ADD COLUMN csat_assigned_agent_id                   bigint,
    ADD COLUMN csat_assigned_agent_name                 varchar(255),
    ADD COLUMN first_customer_text                      text,
    ADD COLUMN last_customer_text                       text,
    ADD COLUMN last_agent_text                          text,
    ADD COLUMN assignee_agent_bot_id                    bigint,
    ADD COLUMN assignee_agent_bot_name                  varchar(255),
    ADD COLUMN handled_by                               text,
    ADD COLUMN last_agent_message_at                    timestamptz,
    ADD COLUMN last_customer_message_at                 timestamptz,
    ADD COLUMN is_awaiting_reply                        boolean,
    ADD COLUMN conversation_identifier                  text,
    ADD COLUMN conversation_additional_attributes       jsonb,
    ADD COLUMN sla_policy_id                            bigint,
    ADD COLUMN sla_policy_name                          varchar(255),
    ADD COLUMN sla_status                               text,
    ADD COLUMN campaign_title                           varchar(255),
    ADD COLUMN assignee_display_name                    varchar(255),
    ADD COLUMN contact_custom_attributes                jsonb,
    ADD COLUMN contact_additional_attributes            jsonb,
    ADD COLUMN contact_country_code                     varchar(2),
    ADD COLUMN contact_blocked                          boolean,
    ADD COLUMN contact_created_at                       timestamptz,
    ADD COLUMN attachments_count                        integer,
    ADD COLUMN participants                             integer[],
    ADD COLUMN is_within_working_hours                  boolean;

-- As the other wide columns: servers before 14, or built without lz4, keep pglz.
DO $$
DECLARE
    wide text;
BEGIN
    FOREACH wide IN ARRAY ARRAY['events_compiled', 'first_customer_text', 'last_customer_text', 'last_agent_text',
                                'conversation_additional_attributes', 'contact_custom_attributes',
                                'contact_additional_attributes'] LOOP
        EXECUTE format('ALTER TABLE conversations_analytics ALTER COLUMN %I SET COMPRESSION lz4', wide);
    END LOOP;
EXCEPTION WHEN syntax_error OR feature_not_supported OR invalid_parameter_value THEN
    RAISE NOTICE 'this server has no lz4: the default compression stays';
END
$$;

ALTER TABLE tenants
    DROP CONSTRAINT tenants_privacy_known,
    ADD CONSTRAINT tenants_privacy_known CHECK (
        jsonb_typeof(privacy) = 'object'
        AND privacy - ARRAY['contact_name', 'contact_email', 'contact_phone', 'contact_identifier', 'client_phone',
                            'message_text', 'csat_feedback', 'contact_attributes'] = '{}'
        AND jsonb_path_query_array(privacy, '$.*') <@ '["hash", "null"]'
    );

-- The tables' policies bind their owner too, so FORCE is off for this transaction.
ALTER TABLE tenants NO FORCE ROW LEVEL SECURITY;
ALTER TABLE etl_watermark NO FORCE ROW LEVEL SECURITY;
-- Attributes often hold personal data: a tenant that hides something of its contacts hides these too, until it says otherwise.
UPDATE tenants SET privacy = privacy || '{"contact_attributes": "null"}', updated_at = now()
WHERE privacy ?| ARRAY['contact_name', 'contact_email', 'contact_phone', 'contact_identifier', 'client_phone'];
-- The next plan of each tenant finds another list than this, as after an upgrade of Chatwoot, and requests the backfill.
UPDATE etl_watermark SET absent_columns = absent_columns || '{*}' WHERE watermark IS NOT NULL;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
ALTER TABLE etl_watermark FORCE ROW LEVEL SECURITY;
