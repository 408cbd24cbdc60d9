use proptest::prelude::*;

use super::any::{AnyMessage, any_source};
use super::*;

proptest! {
    #[test]
    fn every_source_becomes_a_row(source in any_source()) {
        let row = source.transform().unwrap();
        prop_assert_eq!(row.identity.conversation_id, source.conversation.id);
        prop_assert_eq!(usize::try_from(row.messages.t_messages).unwrap(), source.messages.len());
    }

    #[test]
    fn message_compiled_is_an_array_of_all_messages(source in any_source()) {
        let row = source.transform().unwrap();
        let length = row.messages.message_compiled.as_ref().map(|json| {
            serde_json::from_str::<Vec<serde_json::Value>>(&json.0).unwrap().len()
        });
        prop_assert_eq!(length.unwrap_or(0), source.messages.len());
    }

    #[test]
    fn messages_in_any_order_are_counted_or_refused(mut source in any_source(), cut in 0..12_usize) {
        let cut = cut.min(source.messages.len());
        source.messages.rotate_left(cut);
        let sorted = source.messages.is_sorted_by_key(AnyMessage::position);
        prop_assert_eq!(source.transform().err(), (!sorted).then_some(TransformError::MessageOrder));
    }

    #[test]
    fn any_text_is_taken_or_refused(mut source in any_source(), name: String, json: String) {
        source.conversation.contact_name = Some(name);
        source.conversation.custom_attributes = Some(json);
        if let Ok(row) = source.transform() {
            let name = row.contact.contact_name.unwrap_or_default();
            prop_assert!(!name.contains('\0'));
            prop_assert!(name.chars().count() <= 255);
        }
    }
}
