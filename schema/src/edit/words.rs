//! A line as people type it, cut into words: blanks part them, quotes hold them together as in a shell, `#` begins a
//! comment.

use std::ops::Range;

/// One word of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// What it says, without quotes and escapes.
    pub text: String,
    /// Where it stands in the line, in bytes, with its quotes.
    pub span: Range<usize>,
}

/// A quote or an escape that is not closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {what} is not closed")]
pub struct Unclosed {
    /// What is open: a quote, or a backslash at the end.
    pub what: &'static str,
    /// Where it begins, in bytes.
    pub at: usize,
    /// The words before, and last the open one with what it holds so far.
    pub words: Vec<Word>,
}

/// Cuts a line into words. In double quotes a backslash makes the next character plain, in single quotes nothing does.
///
/// # Errors
///
/// Where a quote is not closed, or the line ends with a backslash.
pub fn split(line: &str) -> Result<Vec<Word>, Unclosed> {
    let mut words = Vec::new();
    let mut characters = line.char_indices().peekable();
    while let Some(&(start, first)) = characters.peek() {
        if first.is_whitespace() {
            characters.next();
            continue;
        }
        if first == '#' {
            break;
        }
        let mut text = String::new();
        let mut open: Option<(usize, &'static str)> = None;
        let mut end = start;
        while let Some(&(at, character)) = characters.peek() {
            if character.is_whitespace() {
                break;
            }
            characters.next();
            match character {
                '\'' => {
                    open = Some((at, "single quote"));
                    for (_, inner) in characters.by_ref() {
                        if inner == '\'' {
                            open = None;
                            break;
                        }
                        text.push(inner);
                    }
                }
                '"' => {
                    open = Some((at, "double quote"));
                    while let Some((_, inner)) = characters.next() {
                        match inner {
                            '"' => {
                                open = None;
                                break;
                            }
                            '\\' => text.extend(characters.next().map(|(_, plain)| plain)),
                            plain => text.push(plain),
                        }
                    }
                }
                '\\' => match characters.next() {
                    Some((_, plain)) => text.push(plain),
                    None => open = Some((at, "backslash")),
                },
                plain => text.push(plain),
            }
            end = characters.peek().map_or(line.len(), |(at, _)| *at);
        }
        let span = start..end;
        words.push(Word { text, span });
        if let Some((at, what)) = open {
            return Err(Unclosed { what, at, words });
        }
    }
    Ok(words)
}

/// A word so that [`split`] gives it back: as it is where it can be, otherwise in double quotes.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:/,+-@=%[]".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('"');
    for character in word.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(line: &str) -> Vec<String> {
        let words = split(line).unwrap();
        words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn lines_are_cut_as_in_a_shell() {
        assert_eq!(texts("  set vpcs\tblue "), ["set", "vpcs", "blue"]);
        assert_eq!(texts("a \"b c\" 'd \"e'"), ["a", "b c", "d \"e"]);
        assert_eq!(texts(r#"a"b"'c'\ d "\"\\""#), ["abc d", "\"\\"]);
        assert_eq!(texts("\"\" ''"), ["", ""]);
        assert_eq!(texts("a # b"), ["a"]);
        assert_eq!(texts("a#b \"#\""), ["a#b", "#"]);
        assert_eq!(texts("# all of it \" "), [""; 0]);
        let words = split("é \"b c\"x d").unwrap();
        let spans: Vec<_> = words.into_iter().map(|word| word.span).collect();
        assert_eq!(spans, [0..2, 3..9, 10..11]);
    }

    #[test]
    fn what_is_open_is_told() {
        for (line, what, at, last) in [
            ("a \"b c", "double quote", 2, "b c"),
            ("a x'b ", "single quote", 3, "xb "),
            ("a b\\", "backslash", 3, "b"),
            ("\"\\", "double quote", 0, ""),
        ] {
            let open = split(line).unwrap_err();
            assert_eq!((open.what, open.at), (what, at), "{line}");
            assert_eq!(open.words.last().unwrap().text, last, "{line}");
        }
    }

    proptest! {
        #[test]
        fn quoted_words_come_back(words in proptest::collection::vec(any::<String>(), 0..5)) {
            let line: Vec<String> = words.iter().map(|word| quote(word)).collect();
            prop_assert_eq!(texts(&line.join(" ")), words);
        }

        #[test]
        fn any_line_is_cut_or_open(line in any::<String>()) {
            let words = split(&line).unwrap_or_else(|open| open.words);
            for word in words {
                prop_assert!(line.get(word.span).is_some());
            }
        }
    }
}
