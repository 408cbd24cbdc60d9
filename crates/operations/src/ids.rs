//! Reads lists of conversation ids as they come, part by part.

/// For more, a selection by time or inbox, or everything, is better.
pub const MOST_IDS: usize = 1_000_000;
/// A first line written by a spreadsheet or by `\\copy … HEADER`.
const HEADERS: [&str; 2] = ["id", "conversation_id"];
/// No id is as long, with quotes around it.
const LONGEST_WORD: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdsError {
    #[error("line {line}: `{word}` is not a conversation id")]
    NoId { line: usize, word: String },
    #[error("more than {MOST_IDS} ids: select them by time, by inboxes, or take everything")]
    TooMany,
    #[error("there is no id in the file")]
    Empty,
}

/// Ids separated by commas, semicolons or white space; the first line may be a header.
#[derive(Debug)]
pub struct IdReader {
    ids: Vec<i64>,
    word: Vec<u8>,
    line: usize,
}

impl Default for IdReader {
    fn default() -> Self {
        Self {
            ids: Vec::new(),
            word: Vec::new(),
            line: 1,
        }
    }
}

impl IdReader {
    /// Takes the next part, which may end within an id.
    pub fn push(&mut self, part: &[u8]) -> Result<(), IdsError> {
        for byte in part {
            if matches!(byte, b',' | b';') || byte.is_ascii_whitespace() {
                self.end_word()?;
                if *byte == b'\n' {
                    self.line += 1;
                }
            } else {
                self.word.push(*byte);
                if self.word.len() > LONGEST_WORD {
                    return self.end_word();
                }
            }
        }
        Ok(())
    }

    fn end_word(&mut self) -> Result<(), IdsError> {
        let word = std::mem::take(&mut self.word);
        let text = String::from_utf8_lossy(&word);
        for word in text.trim_start_matches('\u{feff}').split_whitespace() {
            let bare = word.trim_matches('"');
            let is_header = self.line == 1
                && self.ids.is_empty()
                && HEADERS.contains(&bare.to_ascii_lowercase().as_str());
            if is_header {
                continue;
            }
            let id = bare.parse().ok().filter(|id| *id > 0);
            self.ids.push(id.ok_or_else(|| IdsError::NoId {
                line: self.line,
                word: word.chars().take(40).collect(),
            })?);
            if self.ids.len() > MOST_IDS {
                return Err(IdsError::TooMany);
            }
        }
        Ok(())
    }

    /// The ids in the order in which they came.
    pub fn finish(mut self) -> Result<Vec<i64>, IdsError> {
        self.end_word()?;
        if self.ids.is_empty() {
            return Err(IdsError::Empty);
        }
        Ok(self.ids)
    }
}

/// Reads a whole text.
pub fn read(text: &str) -> Result<Vec<i64>, IdsError> {
    let mut reader = IdReader::default();
    reader.push(text.as_bytes())?;
    reader.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_may_be_separated_in_any_way_and_come_in_parts_of_any_length() {
        let expected = [3, 1, 2, 4, 5];
        for text in [
            "3,1,2,4,5",
            "3\n1\r\n2\n\n4 5\n",
            "3; 1;2\t4, 5,",
            "id\n3\n1\n2\n4\n5",
            "\u{feff}\"conversation_id\"\r\n\"3\"\r\n1,2,4,5",
            "3\u{a0}1 2 4 5",
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text:?}");
            for length in 1..8 {
                let mut reader = IdReader::default();
                for part in text.as_bytes().chunks(length) {
                    reader.push(part).unwrap();
                }
                assert_eq!(reader.finish().unwrap(), expected, "{text:?} by {length}");
            }
        }
    }

    #[test]
    fn an_invalid_id_is_named_with_its_line() {
        for (text, words) in [
            ("1\n2,x3\n", "line 2: `x3`"),
            ("1\n0", "line 2: `0`"),
            ("-4", "line 1: `-4`"),
            ("9223372036854775808", "line 1"),
            ("1.5", "`1.5`"),
            ("7\nid", "line 2: `id`"),
            ("", "no id"),
            (" , \n", "no id"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_list_and_a_word_are_bounded() {
        let at_most = "1\n".repeat(MOST_IDS);
        assert_eq!(read(&at_most).unwrap().len(), MOST_IDS);
        assert_eq!(read(&format!("{at_most}2")), Err(IdsError::TooMany));
        let long = "9".repeat(LONGEST_WORD * 100);
        let mut reader = IdReader::default();
        assert!(matches!(
            reader.push(long.as_bytes()),
            Err(IdsError::NoId { line: 1, .. })
        ));
    }
}
