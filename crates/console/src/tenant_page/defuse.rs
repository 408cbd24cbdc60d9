//! Cells of CSV files.

/// A cell as a spreadsheet reads it back: text stays text. A cell that begins like a formula gets an apostrophe first.
pub fn cell(text: &str, separator: char) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let text = if is_formula {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if text.contains([separator, '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula() {
        for (text, expected) in [
            ("Maria", "Maria"),
            ("=1+1", "'=1+1"),
            ("+5511900000001", "'+5511900000001"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
            ("a;b", "\"a;b\""),
            ("a \"b\"", "\"a \"\"b\"\"\""),
            (
                "=HYPERLINK(\"http://x\";\"y\")",
                "\"'=HYPERLINK(\"\"http://x\"\";\"\"y\"\")\"",
            ),
            ("", ""),
        ] {
            assert_eq!(cell(text, ';'), expected);
        }
        assert_eq!(cell("a;b", ','), "a;b");
    }
}
