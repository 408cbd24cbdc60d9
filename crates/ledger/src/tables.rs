//! The names that the migrations create. Checks and advice cover these objects alone: the schema may have objects of
//! somebody else, such as the tables of the Python script.

/// Every table. sqlx keeps its own, `_sqlx_migrations`.
pub const TABLES: [&str; 37] = [
    "console_request",
    "console_session",
    "console_token",
    "console_user",
    "conversation_change",
    "conversation_daily",
    "conversation_feed",
    "conversations_analytics",
    "etl_action_audit",
    "etl_agreement",
    "etl_bulk",
    "etl_bulk_item",
    "etl_chunk",
    "etl_control",
    "etl_fence",
    "etl_forgotten_contact",
    "etl_migration",
    "etl_name",
    "etl_process",
    "etl_rejected_row",
    "etl_sender",
    "etl_source",
    "etl_source_audit",
    "etl_source_watch",
    "etl_unsynced_inbox",
    "etl_verification",
    "etl_verification_fault",
    "etl_verification_part",
    "etl_watermark",
    "etl_watermark_audit",
    "etl_webhook",
    "etl_webhook_condition",
    "etl_webhook_delivery",
    "etl_withheld_conversation",
    "inbox_tenant_mapping",
    "tenant_login",
    "tenants",
];

pub(crate) const VIEWS: [&str; 3] = [
    "conversations_analytics_live",
    "messages_live",
    "reporting_events_live",
];

pub(crate) const TYPES: [&str; 5] = [
    "etl_chunk_status",
    "etl_lane",
    "etl_run_status",
    "etl_run_type",
    "tenant_status",
];

/// With the types of their arguments.
pub(crate) const FUNCTIONS: [&str; 6] = [
    "app_current_tenant_id()",
    "bump_mapping_version()",
    "changes_since(integer,text,integer)",
    "queue_run_webhooks()",
    "raise_source_version()",
    "start_watermark()",
];
