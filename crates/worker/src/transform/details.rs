//! Further columns of the conversation and of the rows that it refers to.

use chrono_tz::Tz;
use tidemark_postgres::source_time::SourceTime;
use tidemark_shared::privacy::PersonalColumn;

use super::calendar::weekday_and_micros;
use super::error::TransformError;
use super::privacy::Privacy;
use super::text;
use crate::row::columns::Details;
use crate::row::source::{SourceConversation, WorkingHours};
use crate::row::value::Json;

pub(super) fn details<'a>(
    privacy: &Privacy,
    source: &'a SourceConversation,
) -> Result<Details<'a>, TransformError> {
    let details = &source.details;
    let attributes = |column, json: Option<&'a str>| {
        let checked = |json| Ok(text::json(column, json)?.map(|json| json.get()));
        Ok::<_, TransformError>(
            privacy
                .json(PersonalColumn::ContactAttributes, json, checked)?
                .map(Json),
        )
    };
    Ok(Details {
        conversation_identifier: text::whole("conversation_identifier", details.identifier.as_deref())?,
        conversation_additional_attributes: text::json(
            "conversation_additional_attributes",
            details.additional_attributes.as_deref(),
        )?
        .map(|json| Json(json.get())),
        sla_policy_id: details.sla_policy_id,
        sla_policy_name: text::name("sla_policy_name", details.sla_policy_name.as_deref(), 255)?,
        sla_status: match details.sla_status {
            Some(0) => Some("active"),
            Some(1) => Some("hit"),
            Some(2) => Some("missed"),
            Some(3) => Some("active_with_misses"),
            _ => None,
        },
        campaign_title: text::name("campaign_title", details.campaign_title.as_deref(), 255)?,
        assignee_display_name: text::name(
            "assignee_display_name",
            details.assignee_display_name.as_deref(),
            255,
        )?,
        contact_custom_attributes: attributes(
            "contact_custom_attributes",
            details.contact_custom_attributes.as_deref(),
        )?,
        contact_additional_attributes: attributes(
            "contact_additional_attributes",
            details.contact_additional_attributes.as_deref(),
        )?,
        contact_country_code: text::name("contact_country_code", details.contact_country_code.as_deref(), 2)?,
        contact_blocked: details.contact_blocked,
        contact_created_at: details.contact_created_at,
        attachments_count: details.attachments_count,
        participants: &details.participants,
        is_within_working_hours: details.working_hours.as_ref().and_then(|hours| {
            let timezone = source.inbox_timezone.as_deref().unwrap_or("UTC");
            is_within(hours, source.created_at, timezone)
        }),
    })
}

/// As Chatwoot decides it: both bounds belong to the working hours. `None` when the zone is unknown or the time is infinite.
fn is_within(hours: &WorkingHours, time: SourceTime, timezone: &str) -> Option<bool> {
    const MINUTE: i64 = 60_000_000;
    let timezone: Tz = timezone.parse().ok()?;
    let (weekday, micros) = weekday_and_micros(time, timezone)?;
    Some(hours.of_day(weekday).is_some_and(|(first, last)| {
        (i64::from(first) * MINUTE..=i64::from(last) * MINUTE).contains(&micros)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn working_hours_are_of_the_inboxs_day_with_both_bounds() {
        let mut minutes = vec![None; 14];
        (minutes[6], minutes[7]) = (Some(540), Some(1080)); // Wednesday, 9 to 18
        (minutes[8], minutes[9]) = (Some(0), Some(1440)); // Thursday, all day
        let hours = WorkingHours::from_minutes(&minutes);
        for (time, timezone, expected) in [
            ("2024-03-06T12:00:00", "America/Sao_Paulo", Some(true)),
            ("2024-03-06T11:59:59.999999", "America/Sao_Paulo", Some(false)),
            ("2024-03-06T18:00:00", "UTC", Some(true)),
            ("2024-03-06T18:00:00.000001", "UTC", Some(false)),
            ("2024-03-07T00:30:00", "UTC", Some(true)),
            ("2024-03-07T00:30:00", "America/Sao_Paulo", Some(false)),
            ("2024-03-08T12:00:00", "UTC", Some(false)),
            ("infinity", "UTC", None),
            ("2024-03-06T12:00:00", "Atlantis", None),
        ] {
            assert_eq!(
                is_within(&hours, time.parse().unwrap(), timezone),
                expected,
                "{time} {timezone}"
            );
        }
    }
}
