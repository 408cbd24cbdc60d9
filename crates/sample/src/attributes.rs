//! Values of `messages.content_attributes`, in the two forms that are found there.

/// JSON as an object, and as Rails' `store` writes it: a JSON string that contains the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    object: &'static str,
    string: &'static str,
}

pub const NONE: Attributes = Attributes {
    object: "{}",
    string: r#""{}""#,
};
pub const EDITED: Attributes = Attributes {
    object: r#"{"in_reply_to":null,"edited":true}"#,
    string: r#""{\"in_reply_to\":null,\"edited\":true}""#,
};
pub const DELETED: Attributes = Attributes {
    object: r#"{"deleted":true}"#,
    string: r#""{\"deleted\":true}""#,
};
/// An agent wrote it in the channel's own app.
pub const ECHO: Attributes = Attributes {
    object: r#"{"external_echo":true}"#,
    string: r#""{\"external_echo\":true}""#,
};
pub const AUTOMATION: Attributes = Attributes {
    object: r#"{"automation_rule_id":7}"#,
    string: r#""{\"automation_rule_id\":7}""#,
};
pub const FAILED: Attributes = Attributes {
    object: r#"{"external_error":"131047: Re-engagement message"}"#,
    string: r#""{\"external_error\":\"131047: Re-engagement message\"}""#,
};

impl Attributes {
    pub fn stored(self, as_string: bool) -> &'static str {
        if as_string { self.string } else { self.object }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a JSON string contains, for strings whose only escapes are quotes.
    fn contained(string: &str) -> Option<String> {
        let inner = string.strip_prefix('"')?.strip_suffix('"')?;
        Some(inner.replace("\\\"", "\""))
    }

    #[test]
    fn both_forms_are_the_same_object() {
        for attributes in [NONE, EDITED, DELETED, ECHO, AUTOMATION, FAILED] {
            assert_eq!(
                contained(attributes.stored(true)).as_deref(),
                Some(attributes.stored(false))
            );
        }
    }
}
