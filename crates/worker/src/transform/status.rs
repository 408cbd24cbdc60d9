//! Status, priority, assignment.

use super::error::TransformError;
use super::text;
use crate::row::columns::Status;
use crate::row::source::SourceConversation;

// Chatwoot's enum values
const OPEN: i32 = 0;
const RESOLVED: i32 = 1;
const PENDING: i32 = 2;
const SNOOZED: i32 = 3;
const HIGH: i32 = 2;

pub(super) fn status(source: &SourceConversation) -> Result<Status<'_>, TransformError> {
    Ok(Status {
        status: source.status,
        status_label_pt: match source.status {
            Some(OPEN) => "Aberta",
            Some(RESOLVED) => "Resolvida",
            Some(PENDING) => "Pendente",
            Some(SNOOZED) => "Adiada",
            _ => "Desconhecido",
        },
        is_resolved: source.status == Some(RESOLVED),
        is_open: matches!(source.status, Some(OPEN | PENDING)),
        is_pending: source.status == Some(PENDING),
        is_snoozed: source.status == Some(SNOOZED),
        priority: source.priority,
        priority_label: match source.priority {
            Some(0) => "Low",
            Some(1) => "Medium",
            Some(HIGH) => "High",
            Some(3) => "Urgent",
            _ => "None",
        },
        priority_score: source.priority.map_or(0, |priority| priority.saturating_add(1)),
        has_priority: source.priority.is_some(),
        is_high_priority: source.priority.is_some_and(|priority| priority >= HIGH),
        snoozed_until: source.snoozed_until,
        assignee_id: source.assignee_id,
        assignee_name: text::name("assignee_name", source.assignee_name.as_deref(), 255)?,
        assignee_email: text::name("assignee_email", source.assignee_email.as_deref(), 255)?,
        team_id: source.team_id,
        team_name: text::name("team_name", source.team_name.as_deref(), 255)?,
        is_assigned: source.assignee_id.is_some(),
        has_team: source.team_id.is_some(),
        has_contact: source.contact_id.is_some(),
        is_from_campaign: source.campaign_id.is_some(),
    })
}
