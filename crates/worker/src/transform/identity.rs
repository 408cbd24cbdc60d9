//! The conversation's ids, account, inbox and labels.

use super::error::TransformError;
use super::text;
use crate::row::columns::Identity;
use crate::row::source::SourceConversation;
use crate::row::value::Json;

pub(super) fn identity(tenant_id: i32, source: &SourceConversation) -> Result<Identity<'_>, TransformError> {
    Ok(Identity {
        tenant_id,
        conversation_id: source.id,
        display_id: source.display_id,
        conversation_uuid: source.uuid,
        account_id: source.account_id,
        account_name: text::name("account_name", source.account_name.as_deref(), 255)?,
        inbox_id: source.inbox_id,
        inbox_name: text::name("inbox_name", source.inbox_name.as_deref(), 255)?,
        inbox_channel_type: text::name("inbox_channel_type", source.inbox_channel_type.as_deref(), 50)?,
        inbox_timezone: text::limited("inbox_timezone", source.inbox_timezone.as_deref(), 50)?,
        campaign_id: source.campaign_id,
        labels: text::labels("labels", source.cached_label_list.as_deref())?,
        conversation_custom_attributes: text::json(
            "conversation_custom_attributes",
            source.custom_attributes.as_deref(),
        )?
        .map(|json| Json(json.get())),
    })
}
