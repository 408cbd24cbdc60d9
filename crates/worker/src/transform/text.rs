//! Cuts and checks texts for the target's columns.

use serde_json::value::RawValue;

use super::error::TransformError;

/// The limit of a `jsonb` value, used for texts too: the target would refuse a longer value, which also costs memory.
pub(super) const MAX_BYTES: usize = 0x0fff_ffff;

/// The whole text.
pub(super) fn whole<'a>(
    column: &'static str,
    text: Option<&'a str>,
) -> Result<Option<&'a str>, TransformError> {
    match text {
        Some(text) if text.len() > MAX_BYTES => Err(TransformError::TooLong { column }),
        Some(text) if text.as_bytes().contains(&0) => Err(TransformError::NulCharacter { column }),
        text => Ok(text),
    }
}

/// The text cut to `limit` characters, as `varchar` counts them.
pub(super) fn limited<'a>(
    column: &'static str,
    text: Option<&'a str>,
    limit: usize,
) -> Result<Option<&'a str>, TransformError> {
    whole(column, text.map(|text| cut(text, limit)))
}

/// The text cut to `limit` characters; `None` when it is empty.
pub(super) fn name<'a>(
    column: &'static str,
    text: Option<&'a str>,
    limit: usize,
) -> Result<Option<&'a str>, TransformError> {
    limited(column, text.filter(|text| !text.is_empty()), limit)
}

pub(super) fn cut(text: &str, limit: usize) -> &str {
    // no text has more characters than bytes
    if text.len() <= limit {
        return text;
    }
    match text.char_indices().nth(limit) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Overwrites a text and reuses its memory.
pub(super) fn assign(slot: &mut Option<String>, text: Option<&str>) {
    match (slot.as_mut(), text) {
        (Some(old), Some(new)) => new.clone_into(old),
        (_, new) => *slot = new.map(str::to_owned),
    }
}

pub(super) fn json<'a>(
    column: &'static str,
    text: Option<&'a str>,
) -> Result<Option<&'a RawValue>, TransformError> {
    match text {
        Some(text) if text.len() > MAX_BYTES => Err(TransformError::TooLong { column }),
        // not parsed into an Option, which would turn the text `null` into None
        Some(text) => match serde_json::from_str(text) {
            Ok(json) => Ok(Some(json)),
            Err(_) => Err(TransformError::InvalidJson { column }),
        },
        None => Ok(None),
    }
}

/// The parts of a comma-separated list, trimmed, without empty ones.
pub(super) fn labels<'a>(
    column: &'static str,
    list: Option<&'a str>,
) -> Result<Vec<&'a str>, TransformError> {
    let list = whole(column, list)?.unwrap_or_default();
    Ok(list
        .split(',')
        .map(str::trim)
        .filter(|label| !label.is_empty())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_characters() {
        assert_eq!(cut("áéíóú", 3), "áéí");
        assert_eq!(cut("áéí", 3), "áéí");
        assert_eq!(cut("🙂🙃🙂", 2), "🙂🙃");
        assert_eq!(cut("abc", 0), "");
    }

    #[test]
    fn an_empty_name_is_none_and_an_empty_text_is_kept() {
        assert_eq!(name("c", Some(""), 5), Ok(None));
        assert_eq!(name("c", Some(" "), 5), Ok(Some(" ")));
        assert_eq!(limited("c", Some(""), 5), Ok(Some("")));
        assert_eq!(name("c", None, 5), Ok(None));
    }

    #[test]
    fn nul_is_refused_where_it_would_be_stored() {
        assert_eq!(
            whole("c", Some("a\0")),
            Err(TransformError::NulCharacter { column: "c" })
        );
        assert_eq!(limited("c", Some("ab\0"), 2), Ok(Some("ab")));
        assert_eq!(
            labels("c", Some("\0")),
            Err(TransformError::NulCharacter { column: "c" })
        );
    }

    #[test]
    fn json_is_checked_and_kept_as_it_is() {
        for text in [r#"{"a": [1, 1e400]}"#, "null", r#""\u0041""#] {
            assert_eq!(json("c", Some(text)).unwrap().map(RawValue::get), Some(text));
        }
        assert!(json("c", None).unwrap().is_none());
        for text in ["", "{", "{} {}", "nil", "\0"] {
            assert_eq!(
                json("c", Some(text)).unwrap_err(),
                TransformError::InvalidJson { column: "c" }
            );
        }
    }

    #[test]
    fn a_value_too_long_for_jsonb_is_refused() {
        let text = "1".repeat(MAX_BYTES + 1);
        assert_eq!(
            whole("c", Some(&text)),
            Err(TransformError::TooLong { column: "c" })
        );
        assert_eq!(
            json("c", Some(&text)).unwrap_err(),
            TransformError::TooLong { column: "c" }
        );
        assert!(whole("c", Some(&text[1..])).is_ok());
        assert_eq!(limited("c", Some(&text), 3), Ok(Some("111")));
    }

    #[test]
    fn labels_are_split_trimmed_and_kept_in_order() {
        assert_eq!(
            labels("c", Some(" vip, ,lead,,vip ,pós-venda")),
            Ok(vec!["vip", "lead", "vip", "pós-venda"])
        );
        assert_eq!(labels("c", Some(" ,")), Ok(vec![]));
        assert_eq!(labels("c", Some("")), Ok(vec![]));
        assert_eq!(labels("c", None), Ok(vec![]));
    }
}
