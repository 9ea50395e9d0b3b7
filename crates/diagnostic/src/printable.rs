//! Owns text from outside as a person may see it: what would steer a terminal or reorder a line is written out.

use std::borrow::Cow;

/// The text with control characters, bidirectional marks and invisible characters written as escapes (`\u{1b}`). Line ends
/// and tabs stay. For everything that goes to a person; data stays as it is.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match steers(character) {
            true => out.extend(character.escape_unicode()),
            false => out.push(character),
        }
    }
    Cow::Owned(out)
}

/// Whether a character does something to a terminal or to the order of a line instead of being seen.
fn steers(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        // Bidirectional embeddings, overrides, isolates and marks (UAX #9), line and paragraph separators.
        '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        // What has no width: soft hyphen, byte order mark, interlinear annotations, tags.
        '\u{00ad}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_written_out_and_the_rest_stays() {
        assert_eq!(printable("a\u{1b}[2Jb\0\r\u{9b}"), "a\\u{1b}[2Jb\\u{0}\\u{d}\\u{9b}");
        assert_eq!(printable("x\u{202e}txt.exe\u{2066}"), "x\\u{202e}txt.exe\\u{2066}");
        let plain = "Ünïcode, 日本語\n\tand a tab, 👍🏽";
        assert!(matches!(printable(plain), Cow::Borrowed(text) if text == plain));
    }
}
