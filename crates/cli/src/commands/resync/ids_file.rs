//! Reads a file of ids.

use std::io::Read;
use std::path::Path;

use anyhow::Context;

use crate::exit::UsageError;

/// For more, a selection by time or inbox, or everything, is better.
const IDS: usize = 1_000_000;
/// An id with its separator takes at most twenty bytes.
const BYTES: u64 = 20 * IDS as u64;
/// A first line written by a spreadsheet or by `\\copy … HEADER`.
const HEADERS: [&str; 2] = ["id", "conversation_id"];

/// Reads ids from a file, or from stdin for `-`.
pub fn read(path: &Path) -> anyhow::Result<Vec<i64>> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(BYTES + 1).read_to_string(&mut text)
    } else {
        let file = std::fs::File::open(path)
            .map_err(|error| UsageError(format!("open {}: {error}", path.display())))?;
        file.take(BYTES + 1).read_to_string(&mut text)
    };
    let read = read.with_context(|| format!("read ids from {}", path.display()))?;
    if u64::try_from(read).is_ok_and(|read| read > BYTES) {
        return Err(too_many().into());
    }
    Ok(parse(&text)?)
}

fn too_many() -> UsageError {
    UsageError(format!(
        "more than {IDS} ids: select them with --from and --to, --inbox, or --all-rows"
    ))
}

/// Ids separated by commas, semicolons or white space; the first line may be a header.
fn parse(text: &str) -> Result<Vec<i64>, UsageError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut ids = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let is_header =
            number == 0 && HEADERS.contains(&line.trim().trim_matches('"').to_ascii_lowercase().as_str());
        if is_header {
            continue;
        }
        let words = line.split(|sign: char| sign == ',' || sign == ';' || sign.is_whitespace());
        for word in words.filter(|word| !word.is_empty()) {
            let id = word.trim_matches('"').parse().ok().filter(|id| *id > 0);
            ids.push(id.ok_or_else(|| {
                let shown: String = word.chars().take(40).collect();
                UsageError(format!("line {}: `{shown}` is not a conversation id", number + 1))
            })?);
        }
        if ids.len() > IDS {
            return Err(too_many());
        }
    }
    if ids.is_empty() {
        return Err(UsageError("there is no id in the file".to_owned()));
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_may_be_separated_in_any_way() {
        let expected = [3, 1, 2, 4, 5];
        for text in [
            "3,1,2,4,5",
            "3\n1\r\n2\n\n4 5\n",
            "3; 1;2\t4, 5,",
            "id\n3\n1\n2\n4\n5",
            "\u{feff}\"conversation_id\"\r\n\"3\"\r\n1,2,4,5",
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text:?}");
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
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_list_is_bounded() {
        let at_most = "1\n".repeat(IDS);
        assert_eq!(parse(&at_most).unwrap().len(), IDS);
        let error = parse(&format!("{at_most}2")).unwrap_err().to_string();
        assert!(error.contains("--all-rows"), "{error}");
    }
}
