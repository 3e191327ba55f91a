//! One short line of what others said, fit for a log: a line of theirs must not pass for one of ours.

/// How much of it is kept, in characters.
const MAX_CHARS: usize = 500;

/// How much of it is looked at, in characters: blanks may be long.
const MAX_CHARS_READ: usize = 2_000;

/// Without control characters, and with single blanks.
pub(crate) fn one_line(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text.chars().take(MAX_CHARS_READ).map(printable).collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_said_is_one_short_line_without_escapes() {
        assert_eq!(
            one_line(" no\n2026 ERROR forged \x1b[31mred\u{9b}2J\r "),
            "no 2026 ERROR forged [31mred 2J"
        );
        assert_eq!(one_line(&"ü".repeat(100_000)).chars().count(), MAX_CHARS);
    }
}
