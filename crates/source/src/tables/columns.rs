//! The tables and columns of Chatwoot that are read in `tables` mode. A further table or column is read by an entry here.

use crate::kind::Kind;

/// What becomes of a source that does not have the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It is refused.
    Needed,
    /// The column counts as NULL, with a warning. A table of which no column is needed may be absent, and counts as empty.
    Optional,
    /// As optional, and also where the login may not read the column: earlier releases needed no right to it. Plans do not
    /// compare its digest.
    Further,
    /// The column counts as NULL without a warning, also when the login may not read it: it only shows when a name was
    /// changed.
    Hint,
}

#[derive(Debug)]
pub(super) struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub need: Need,
}

#[derive(Debug)]
pub(super) struct Table {
    pub name: &'static str,
    pub columns: &'static [Column],
    /// Whether every plan compares digests of its columns. Rows of other tables are compared by verification only.
    pub is_in_plan_digest: bool,
}

impl Table {
    pub fn is_needed(&self) -> bool {
        self.columns.iter().any(|column| column.need == Need::Needed)
    }
}

macro_rules! columns {
    ($($name:ident: $kind:ident $need:ident),* $(,)?) => {
        &[$(Column { name: stringify!($name), kind: Kind::$kind, need: Need::$need }),*]
    };
}

const fn table(name: &'static str, columns: &'static [Column]) -> Table {
    Table {
        name,
        columns,
        is_in_plan_digest: false,
    }
}

pub(super) static TABLES: [Table; 16] = [
    Table {
        name: "conversations",
        columns: columns! {
            id: BigInt Needed,
            account_id: Integer Needed,
            inbox_id: Integer Needed,
            status: Integer Needed,
            assignee_id: Integer Optional,
            created_at: Time Needed,
            updated_at: Time Needed,
            contact_id: BigInt Needed,
            display_id: Integer Needed,
            contact_last_seen_at: Time Optional,
            agent_last_seen_at: Time Optional,
            assignee_last_seen_at: Time Optional,
            first_reply_created_at: Time Optional,
            snoozed_until: Time Optional,
            last_activity_at: Time Needed,
            waiting_since: Time Optional,
            custom_attributes: Json Optional,
            uuid: Uuid Optional,
            team_id: BigInt Optional,
            campaign_id: BigInt Optional,
            priority: Integer Optional,
            cached_label_list: Text Optional,
            identifier: Text Further,
            additional_attributes: Json Further,
            sla_policy_id: BigInt Further,
            assignee_agent_bot_id: BigInt Further,
        },
        is_in_plan_digest: true,
    },
    table(
        "messages",
        columns! {
            id: BigInt Needed,
            content: Text Needed,
            inbox_id: Integer Needed,
            conversation_id: BigInt Needed,
            message_type: Integer Needed,
            created_at: Time Needed,
            updated_at: Time Needed,
            private: Boolean Needed,
            status: Integer Optional,
            source_id: Text Optional,
            content_type: Integer Needed,
            sender_type: Text Needed,
            sender_id: BigInt Needed,
            sentiment: Json Optional,
            content_attributes: Json Further,
        },
    ),
    table(
        "contacts",
        columns! {
            id: BigInt Needed,
            name: Text Needed,
            email: Text Optional,
            phone_number: Text Optional,
            identifier: Text Optional,
            account_id: Integer Optional,
            custom_attributes: Json Further,
            additional_attributes: Json Further,
            country_code: Text Further,
            blocked: Boolean Further,
            created_at: Time Further,
            updated_at: Time Optional,
        },
    ),
    table(
        "inboxes",
        columns! {
            id: Integer Needed,
            account_id: Integer Needed,
            name: Text Needed,
            channel_type: Text Needed,
            timezone: Text Optional,
            working_hours_enabled: Boolean Further,
            updated_at: Time Hint,
        },
    ),
    table(
        "accounts",
        columns! {
            id: Integer Needed,
            name: Text Needed,
            updated_at: Time Hint,
        },
    ),
    table(
        "users",
        columns! {
            id: Integer Needed,
            name: Text Needed,
            email: Text Optional,
            display_name: Text Further,
            updated_at: Time Hint,
        },
    ),
    table(
        "teams",
        columns! {
            id: BigInt Optional,
            name: Text Optional,
            updated_at: Time Hint,
        },
    ),
    table(
        "csat_survey_responses",
        columns! {
            id: BigInt Optional,
            conversation_id: BigInt Optional,
            rating: Integer Optional,
            feedback_message: Text Optional,
            assigned_agent_id: BigInt Further,
            created_at: Time Optional,
            updated_at: Time Optional,
        },
    ),
    table(
        "reporting_events",
        columns! {
            id: BigInt Further,
            name: Text Further,
            value: Float Further,
            value_in_business_hours: Float Further,
            user_id: BigInt Further,
            inbox_id: BigInt Further,
            conversation_id: BigInt Further,
            event_start_time: Time Further,
            event_end_time: Time Further,
            created_at: Time Further,
        },
    ),
    table(
        "campaigns",
        columns! {
            id: BigInt Further,
            title: Text Further,
        },
    ),
    table(
        "sla_policies",
        columns! {
            id: BigInt Further,
            name: Text Further,
        },
    ),
    table(
        "applied_slas",
        columns! {
            id: BigInt Further,
            conversation_id: BigInt Further,
            sla_policy_id: BigInt Further,
            sla_status: Integer Further,
            updated_at: Time Further,
        },
    ),
    table(
        "agent_bots",
        columns! {
            id: BigInt Further,
            name: Text Further,
        },
    ),
    table(
        "attachments",
        columns! {
            id: BigInt Further,
            message_id: BigInt Further,
        },
    ),
    table(
        "conversation_participants",
        columns! {
            user_id: BigInt Further,
            conversation_id: BigInt Further,
            updated_at: Time Further,
        },
    ),
    table(
        "working_hours",
        columns! {
            id: BigInt Further,
            inbox_id: BigInt Further,
            day_of_week: Integer Further,
            open_hour: Integer Further,
            open_minutes: Integer Further,
            close_hour: Integer Further,
            close_minutes: Integer Further,
            closed_all_day: Boolean Further,
            open_all_day: Boolean Further,
        },
    ),
];

/// The names of all tables.
pub(crate) fn table_names() -> Vec<&'static str> {
    TABLES.iter().map(|table| table.name).collect()
}

#[cfg(test)]
mod tests {
    use tidemark_shared::chatwoot::{OLDEST_SUPPORTED, columns_of, first_with};

    use super::*;

    #[test]
    fn every_column_is_of_a_version_and_the_needed_ones_of_the_oldest_that_is_supported() {
        for table in &TABLES {
            for Column { name, need, .. } in table.columns {
                assert!(first_with(table.name, name).is_some(), "{}.{name}", table.name);
                let is_in_oldest = columns_of(OLDEST_SUPPORTED)
                    .any(|column| column.table == table.name && column.name == *name);
                assert!(
                    is_in_oldest || matches!(need, Need::Optional | Need::Further),
                    "{}.{name}",
                    table.name
                );
            }
        }
    }

    /// Chatwoot's own types can be read.
    #[test]
    fn the_types_of_every_version_are_accepted() {
        for known in tidemark_shared::chatwoot::columns() {
            let read = TABLES.iter().find(|table| table.name == known.table);
            let read = read.and_then(|table| table.columns.iter().find(|column| column.name == known.name));
            if let Some(column) = read {
                let category = if matches!(known.kind.sql(), "text" | "character varying") {
                    "S"
                } else {
                    ""
                };
                assert!(
                    column.kind.accepts(known.kind.sql(), category),
                    "{}.{}",
                    known.table,
                    known.name
                );
            }
        }
    }
}
