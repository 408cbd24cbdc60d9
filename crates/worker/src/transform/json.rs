//! Writes JSON into a string, with the spelling of `serde_json`.
//!
//! A third of a row's instructions went into looking for characters to escape, byte by byte. Most texts have few of them,
//! so they are looked for in blocks here.

use std::fmt::Write;

use serde_json::value::RawValue;
use tidemark_postgres::source_time::SourceTime;

/// Bytes that are looked at together. The compiler makes a few instructions of a whole block.
const BLOCK: usize = 16;

pub(super) trait WriteJson {
    fn write_json(&self, out: &mut String);
}

/// Appends a key, with the punctuation around it, and its value.
pub(super) fn field(out: &mut String, key: &str, value: &impl WriteJson) {
    out.push_str(key);
    value.write_json(out);
}

impl<T: WriteJson> WriteJson for Option<T> {
    fn write_json(&self, out: &mut String) {
        match self {
            Some(value) => value.write_json(out),
            None => out.push_str("null"),
        }
    }
}

impl WriteJson for bool {
    fn write_json(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }
}

impl WriteJson for i32 {
    fn write_json(&self, out: &mut String) {
        out.push_str(itoa::Buffer::new().format(*self));
    }
}

impl WriteJson for i64 {
    fn write_json(&self, out: &mut String) {
        out.push_str(itoa::Buffer::new().format(*self));
    }
}

impl WriteJson for &RawValue {
    fn write_json(&self, out: &mut String) {
        out.push_str(self.get());
    }
}

impl WriteJson for SourceTime {
    fn write_json(&self, out: &mut String) {
        // no character of a time needs an escape
        write!(out, "\"{self}\"").expect("writing into memory does not fail");
    }
}

impl WriteJson for &str {
    fn write_json(&self, out: &mut String) {
        out.push('"');
        let mut rest = *self;
        loop {
            // bytes that need an escape are whole characters
            let (plain, behind) = rest.split_at(plain_prefix(rest.as_bytes()));
            out.push_str(plain);
            let mut behind = behind.chars();
            let Some(character) = behind.next() else { break };
            escape(character, out);
            rest = behind.as_str();
        }
        out.push('"');
    }
}

const fn needs_escape(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// How many bytes from the first on need no escape.
fn plain_prefix(bytes: &[u8]) -> usize {
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    // without an early end, so that the whole block is compared at once
    let is_plain = |block: &&[u8; BLOCK]| !block.iter().fold(false, |any, byte| any | needs_escape(*byte));
    let start = blocks.iter().take_while(is_plain).count() * BLOCK;
    let rest = &bytes[start..];
    start
        + rest
            .iter()
            .position(|byte| needs_escape(*byte))
            .unwrap_or(rest.len())
}

fn escape(character: char, out: &mut String) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        other => write!(out, "\\u{:04x}", u32::from(other)).expect("writing into memory does not fail"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        text.write_json(&mut out);
        out
    }

    #[test]
    fn every_ascii_character_is_written_like_serde_json_does_at_every_place_of_a_block() {
        for byte in 0..128_u8 {
            for before in 0..=2 * BLOCK {
                let text = format!("{}{}ção", "x".repeat(before), char::from(byte));
                assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_written_like_serde_json_does(text in "(.|[\"\\\\\\x00-\\x1f🙂é]){0,80}") {
            prop_assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
        }
    }
}
