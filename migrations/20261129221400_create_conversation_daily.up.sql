-- Sums of each tenant's live conversations by day, inbox and agent, so that a chart of a year reads some thousand narrow rows. The
-- day is the conversation's first, in the tenant's zone. Everything here may be added up over any days, inboxes and agents.
-- The finalizer computes the days of changed conversations again, from the feed of changes.
CREATE TABLE conversation_daily (
    tenant_id               integer NOT NULL,
    conversation_date       date    NOT NULL,
    -- 0: none
    inbox_id                integer NOT NULL,
    assignee_id             integer NOT NULL,
    inbox_name              text,
    assignee_name           text,
    conversation_count      integer NOT NULL,
    open_count              integer NOT NULL,
    resolved_count          integer NOT NULL,
    reopened_count          integer NOT NULL,
    awaiting_reply_count    integer NOT NULL,
    bot_count               integer NOT NULL,
    -- conversations with a first response, and the sum of their times
    first_response_count    integer NOT NULL,
    first_response_seconds  bigint  NOT NULL,
    -- conversations with a resolution that Chatwoot has reported, and the sum of their times
    resolution_count        integer NOT NULL,
    resolution_seconds      bigint  NOT NULL,
    -- ratings, their sum, and those of 4 or 5
    csat_count              integer NOT NULL,
    csat_rating_sum         bigint  NOT NULL,
    csat_positive_count     integer NOT NULL,
    -- public messages
    message_count           bigint  NOT NULL,
    customer_message_count  bigint  NOT NULL,
    agent_message_count     bigint  NOT NULL,
    -- serves charts, and the computation of days
    CONSTRAINT conversation_daily_pkey PRIMARY KEY (tenant_id, conversation_date, inbox_id, assignee_id)
);

ALTER TABLE conversation_feed
    -- conversation_daily has the changes up to this one; NULL: it was not computed yet
    ADD COLUMN summarized_to bigint;

ALTER TABLE conversation_daily ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY service ON conversation_daily TO etl_service
    USING (tenant_id = (SELECT app_current_tenant_id()))
    WITH CHECK (tenant_id = (SELECT app_current_tenant_id()));
CREATE POLICY console ON conversation_daily TO console_service
    USING (tenant_id = (SELECT app_current_tenant_id()))
    WITH CHECK (tenant_id = (SELECT app_current_tenant_id()));
CREATE POLICY own_tenant ON conversation_daily FOR SELECT TO authenticated_users
    USING (tenant_id = (SELECT app_current_tenant_id()));
CREATE POLICY admin ON conversation_daily FOR SELECT TO admin_users USING (true);
GRANT SELECT, INSERT, DELETE ON conversation_daily TO etl_service, console_service;
GRANT SELECT ON conversation_daily TO authenticated_users, admin_users;
