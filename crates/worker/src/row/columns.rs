//! The columns of `conversations_analytics`. Everything that names, creates or writes them is generated from this list.

use std::borrow::Cow;

use tidemark_postgres::source_time::SourceTime;
use uuid::Uuid;

use super::copy_value::write_field;
use super::value::{Date, Json, Numeric};

/// A column of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub sql_type: &'static str,
}

macro_rules! target_row {
    ($($(#[$meta:meta])* $group:ident: $Group:ident $(<$life:lifetime>)? {
        $($column:ident: $kind:ty = $sql_type:literal,)*
    })*) => {
        /// The content of one row. Each field has the name of its column.
        #[derive(Debug, Clone, PartialEq)]
        pub struct TargetRow<'a> {
            $(pub $group: $Group $(<$life>)?,)*
        }

        $(
            $(#[$meta])*
            #[derive(Debug, Clone, PartialEq)]
            pub struct $Group $(<$life>)? {
                $(pub $column: $kind,)*
            }
        )*

        /// The key and content columns, in the order of the table. The bookkeeping columns are not in this list.
        pub const COLUMNS: &[Column] = &[
            $($(Column { name: stringify!($column), sql_type: $sql_type },)*)*
        ];

        impl TargetRow<'_> {
            /// Writes the fields of [`COLUMNS`], in that order.
            pub(crate) fn write(&self, out: &mut Vec<u8>) {
                $($(write_field(&self.$group.$column, out);)*)*
            }
        }
    };
}

target_row! {
    /// The conversation's ids, account, inbox and labels.
    identity: Identity<'a> {
        tenant_id: i32 = "integer",
        conversation_id: i64 = "bigint",
        display_id: Option<i32> = "integer",
        conversation_uuid: Option<Uuid> = "uuid",
        account_id: Option<i32> = "integer",
        account_name: Option<&'a str> = "varchar(255)",
        inbox_id: i32 = "integer",
        inbox_name: Option<&'a str> = "varchar(255)",
        inbox_channel_type: Option<&'a str> = "varchar(50)",
        inbox_timezone: Option<&'a str> = "varchar(50)",
        campaign_id: Option<i64> = "bigint",
        labels: Vec<&'a str> = "text[]",
        conversation_custom_attributes: Option<Json<&'a str>> = "jsonb",
    }

    /// Status, priority, assignment.
    status: Status<'a> {
        status: Option<i32> = "integer",
        status_label_pt: &'static str = "varchar(50)",
        is_resolved: bool = "boolean",
        is_open: bool = "boolean",
        is_pending: bool = "boolean",
        is_snoozed: bool = "boolean",
        priority: Option<i32> = "integer",
        priority_label: &'static str = "varchar(20)",
        priority_score: i32 = "integer",
        has_priority: bool = "boolean",
        is_high_priority: bool = "boolean",
        snoozed_until: Option<SourceTime> = "timestamptz",
        assignee_id: Option<i32> = "integer",
        assignee_name: Option<&'a str> = "varchar(255)",
        assignee_email: Option<&'a str> = "varchar(255)",
        team_id: Option<i64> = "bigint",
        team_name: Option<&'a str> = "varchar(255)",
        is_assigned: bool = "boolean",
        has_team: bool = "boolean",
        has_contact: bool = "boolean",
        is_from_campaign: bool = "boolean",
    }

    /// The customer.
    contact: Contact<'a> {
        contact_id: Option<i64> = "bigint",
        contact_name: Option<Cow<'a, str>> = "varchar(255)",
        contact_email: Option<Cow<'a, str>> = "varchar(255)",
        contact_identifier: Option<Cow<'a, str>> = "varchar(255)",
        client_sender_id: Option<i64> = "bigint",
        client_phone: Option<Cow<'a, str>> = "varchar(50)",
        contact_phone: Option<Cow<'a, str>> = "varchar(50)",
    }

    /// Times, and the columns computed from their differences.
    times: Times {
        conversation_created_at: SourceTime = "timestamptz",
        conversation_updated_at: SourceTime = "timestamptz",
        last_activity_at: Option<SourceTime> = "timestamptz",
        first_reply_created_at: Option<SourceTime> = "timestamptz",
        waiting_since: Option<SourceTime> = "timestamptz",
        contact_last_seen_at: Option<SourceTime> = "timestamptz",
        agent_last_seen_at: Option<SourceTime> = "timestamptz",
        first_response_time_seconds: Option<i32> = "integer",
        first_response_time_minutes: Option<Numeric<12, 1>> = "numeric(12,1)",
        resolution_time_seconds: Option<i32> = "integer",
        is_fast_response: Option<bool> = "boolean",
        is_slow_response: Option<bool> = "boolean",
        is_fast_resolution: Option<bool> = "boolean",
        is_waiting: bool = "boolean",
        contact_has_seen: bool = "boolean",
        agent_has_seen: bool = "boolean",
    }

    /// The columns computed from the messages.
    messages: Messages {
        message_compiled: Option<Json<String>> = "jsonb",
        t_messages: i32 = "integer",
        total_messages_public: i32 = "integer",
        total_messages_private: i32 = "integer",
        user_messages_count: i32 = "integer",
        contact_messages_count: i32 = "integer",
        system_messages_count: i32 = "integer",
        private_notes_count: i32 = "integer",
        mc_first_message_at: Option<SourceTime> = "timestamptz",
        mc_last_message_at: Option<SourceTime> = "timestamptz",
        first_message_text: Option<String> = "text",
        last_message_text: Option<String> = "text",
        first_message_sender_type: Option<String> = "varchar(50)",
        last_message_sender_type: Option<String> = "varchar(50)",
        conversation_duration_seconds: Option<i32> = "integer",
        avg_time_between_messages_seconds: Option<Numeric<14, 1>> = "numeric(14,1)",
        avg_message_length: Option<i32> = "integer",
        max_message_length: Option<i32> = "integer",
        has_user_messages: bool = "boolean",
        has_contact_messages: bool = "boolean",
        has_private_notes: bool = "boolean",
        has_contact_reply: bool = "boolean",
        is_short_conversation: bool = "boolean",
        is_long_conversation: bool = "boolean",
        user_message_ratio: Numeric<5, 2> = "numeric(5,2)",
        contact_message_ratio: Numeric<5, 2> = "numeric(5,2)",
        has_human_intervention: bool = "boolean",
        is_bot_resolved: bool = "boolean",
    }

    /// The answer to the satisfaction survey.
    satisfaction: Satisfaction<'a> {
        csat_response_id: Option<i64> = "bigint",
        csat_rating: Option<i32> = "integer",
        csat_feedback: Option<Cow<'a, str>> = "text",
        csat_created_at: Option<SourceTime> = "timestamptz",
        csat_nps_category: Option<&'static str> = "text",
        csat_sentiment_category: Option<&'static str> = "text",
        has_csat: bool = "boolean",
        has_written_feedback: bool = "boolean",
        has_detailed_feedback: bool = "boolean",
    }

    /// Chatwoot's own measures, from its reporting events.
    measures: Measures {
        events_compiled: Option<Json<String>> = "jsonb",
        reported_first_response_seconds: Option<Numeric<12, 1>> = "numeric(12,1)",
        reported_first_response_business_seconds: Option<Numeric<12, 1>> = "numeric(12,1)",
        first_responder_id: Option<i32> = "integer",
        reported_reply_seconds_avg: Option<Numeric<12, 1>> = "numeric(12,1)",
        reply_count: i32 = "integer",
        resolution_count: i32 = "integer",
        first_resolved_at: Option<SourceTime> = "timestamptz",
        last_resolved_at: Option<SourceTime> = "timestamptz",
        resolved_at: Option<SourceTime> = "timestamptz",
        reported_resolution_seconds: Option<Numeric<12, 1>> = "numeric(12,1)",
        reported_resolution_business_seconds: Option<Numeric<12, 1>> = "numeric(12,1)",
        reopened_count: i32 = "integer",
        bot_handoff_at: Option<SourceTime> = "timestamptz",
        was_bot_resolved: bool = "boolean",
    }

    /// Who handled the conversation.
    handling: Handling<'a> {
        agent_messages_count: i32 = "integer",
        bot_messages_count: i32 = "integer",
        ai_messages_count: i32 = "integer",
        activity_messages_count: i32 = "integer",
        template_messages_count: i32 = "integer",
        automation_messages_count: i32 = "integer",
        deleted_messages_count: i32 = "integer",
        failed_messages_count: i32 = "integer",
        csat_requests_count: i32 = "integer",
        csat_responses_count: i32 = "integer",
        csat_assigned_agent_id: Option<i64> = "bigint",
        csat_assigned_agent_name: Option<&'a str> = "varchar(255)",
        first_customer_text: Option<String> = "text",
        last_customer_text: Option<String> = "text",
        last_agent_text: Option<String> = "text",
        assignee_agent_bot_id: Option<i64> = "bigint",
        assignee_agent_bot_name: Option<&'a str> = "varchar(255)",
        handled_by: &'static str = "text",
        last_agent_message_at: Option<SourceTime> = "timestamptz",
        last_customer_message_at: Option<SourceTime> = "timestamptz",
        is_awaiting_reply: bool = "boolean",
    }

    /// Further columns of the conversation and of the rows that it refers to.
    details: Details<'a> {
        conversation_identifier: Option<&'a str> = "text",
        conversation_additional_attributes: Option<Json<&'a str>> = "jsonb",
        sla_policy_id: Option<i64> = "bigint",
        sla_policy_name: Option<&'a str> = "varchar(255)",
        sla_status: Option<&'static str> = "text",
        campaign_title: Option<&'a str> = "varchar(255)",
        assignee_display_name: Option<&'a str> = "varchar(255)",
        contact_custom_attributes: Option<Json<Cow<'a, str>>> = "jsonb",
        contact_additional_attributes: Option<Json<Cow<'a, str>>> = "jsonb",
        contact_country_code: Option<&'a str> = "varchar(2)",
        contact_blocked: Option<bool> = "boolean",
        contact_created_at: Option<SourceTime> = "timestamptz",
        attachments_count: i32 = "integer",
        participants: &'a [i32] = "integer[]",
        is_within_working_hours: Option<bool> = "boolean",
    }

    /// The time of the conversation's creation, in the tenant's time zone.
    #[derive(Default)]
    calendar: Calendar {
        conversation_date: Option<Date> = "date",
        conversation_year: Option<i32> = "integer",
        conversation_month: Option<i32> = "integer",
        conversation_day: Option<i32> = "integer",
        conversation_hour: Option<i32> = "integer",
        conversation_minute: Option<i32> = "integer",
        conversation_quarter: Option<i32> = "integer",
        conversation_day_of_week: Option<i32> = "integer",
        conversation_week_of_year: Option<i32> = "integer",
        conversation_day_name: Option<&'static str> = "text",
        conversation_month_name: Option<&'static str> = "text",
        conversation_period: Option<&'static str> = "text",
        is_weekday: Option<bool> = "boolean",
        is_weekend: Option<bool> = "boolean",
        is_business_hours: Option<bool> = "boolean",
        is_night_time: Option<bool> = "boolean",
        conversation_date_formatted: Option<String> = "text",
        conversation_datetime_formatted: Option<String> = "text",
        conversation_year_month: Option<String> = "text",
        conversation_year_week: Option<String> = "text",
    }
}

/// The primary key.
pub const KEY: [&str; 2] = ["tenant_id", "conversation_id"];

/// The hash of [`COLUMNS`]. In staging it follows them.
pub const ROW_HASH: Column = Column {
    name: "row_hash",
    sql_type: "bytea",
};

/// The source's digest of the conversation's own row. In staging it follows the hash.
pub const SOURCE_DIGEST: Column = Column {
    name: "source_digest",
    sql_type: "bigint",
};

/// The source's digest of all other rows that the row is made from.
pub const RELATED_DIGEST: Column = Column {
    name: "related_digest",
    sql_type: "bigint",
};

/// The source's digest of the contact, bound to the hash. The last column of staging.
pub const CONTACT_DIGEST: Column = Column {
    name: "contact_digest",
    sql_type: "bigint",
};

/// What a row's digest covers of staging: a row without a contact's digest is whole.
pub(crate) fn digested() -> impl Iterator<Item = Column> {
    COLUMNS
        .iter()
        .copied()
        .chain([ROW_HASH, SOURCE_DIGEST, RELATED_DIGEST])
}

/// Every column of staging, in order.
pub(crate) fn staging() -> impl Iterator<Item = Column> {
    digested().chain([CONTACT_DIGEST])
}

/// `tenant_id integer, …, contact_digest bigint`: the columns of staging's CREATE TABLE.
#[must_use]
pub fn staging_definition() -> String {
    joined(staging().map(|column| format!("{} {}", column.name, column.sql_type)))
}

/// `tenant_id, …, contact_digest`: the columns that COPY fills and the merge reads.
#[must_use]
pub fn staging_columns() -> String {
    joined(staging().map(|column| column.name.to_owned()))
}

/// `display_id = EXCLUDED.display_id, …, contact_digest = EXCLUDED.contact_digest`: the upsert's SET list, without the
/// key.
#[must_use]
pub fn update_list() -> String {
    joined(
        staging()
            .filter(|column| !KEY.contains(&column.name))
            .map(|Column { name, .. }| format!("{name} = EXCLUDED.{name}")),
    )
}

/// `CASE WHEN t.status IS DISTINCT FROM s.status THEN 'status' END, …`: the names of columns in which a stored row differs from a
/// staged one.
#[must_use]
pub fn changed_list() -> String {
    joined(
        COLUMNS
            .iter()
            .filter(|column| !KEY.contains(&column.name))
            .map(|Column { name, .. }| {
                format!("CASE WHEN t.{name} IS DISTINCT FROM s.{name} THEN '{name}' END")
            }),
    )
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}
