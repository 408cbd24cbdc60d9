//! Expected values are computed by hand from the definition of each column, never taken from the code.

use chrono_tz::Tz;
use tidemark_postgres::source_time::SourceTime;
use uuid::Uuid;

use super::*;
use crate::row::source::{MessageMarks, SourceCsat, SourceDetails, SourceMessage, WorkingHours};

pub(crate) mod any;
mod calendar;
mod handling;
mod messages;
mod privacy;
mod properties;
mod record;

fn at(text: &str) -> SourceTime {
    text.parse().unwrap()
}

/// An open conversation of 2024-03-15 with only the required values.
fn conversation() -> SourceConversation {
    SourceConversation {
        id: 42,
        display_id: None,
        uuid: None,
        account_id: None,
        account_name: None,
        inbox_id: 3,
        inbox_name: None,
        inbox_channel_type: None,
        inbox_timezone: None,
        campaign_id: None,
        cached_label_list: None,
        custom_attributes: None,
        status: Some(0),
        priority: None,
        snoozed_until: None,
        assignee_id: None,
        assignee_name: None,
        assignee_email: None,
        team_id: None,
        team_name: None,
        contact_id: None,
        contact_name: None,
        contact_email: None,
        contact_phone: None,
        contact_identifier: None,
        created_at: at("2024-03-15T12:00:00"),
        updated_at: at("2024-03-15T12:00:00"),
        last_activity_at: None,
        first_reply_created_at: None,
        waiting_since: None,
        contact_last_seen_at: None,
        agent_last_seen_at: None,
        csat: None,
        csat_responses_count: 0,
        details: SourceDetails::default(),
    }
}

fn transformed(conversation: &SourceConversation) -> TargetRow<'_> {
    transformed_in(chrono_tz::UTC, conversation)
}

fn transformed_in(timezone: Tz, conversation: &SourceConversation) -> TargetRow<'_> {
    let tenant = TenantContext {
        tenant_id: 7,
        timezone,
        privacy: Arc::default(),
    };
    transform(&tenant, conversation, MessageFold::new(), None).unwrap()
}
