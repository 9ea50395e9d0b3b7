//! Owns drawing the source lines round a position: gutter, line, carets; plain text clipped to 62 columns, which Nushell's 80-column rendering does not wrap.

use crate::Position;
use std::ops::Range;

/// A named source text.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The name users see, usually a path.
    pub name: &'a str,
    pub text: &'a str,
}

/// A position and the text that shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    pub position: Position,
    pub text: String,
}

const WIDTH: usize = 62;

/// Turns a byte range of a source into a position and its drawing. Out-of-range offsets are clamped, never a panic.
pub fn excerpt(source: Source<'_>, range: Range<usize>) -> Excerpt {
    let text = source.text;
    let start = floor_boundary(text, range.start);
    let end = floor_boundary(text, range.end.max(range.start)).max(start);
    let (line, column) = line_column(text, start);
    let (end_line, end_column) = line_column(text, end);
    let position = Position { file: source.name.to_owned(), line, column, end_line, end_column, start, end };

    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let content = text[line_start..].split('\n').next().unwrap_or("").trim_end_matches('\r');
    let marked = if end_line == line {
        end_column.saturating_sub(column).max(1)
    } else {
        content.chars().count().saturating_sub(column - 1).max(1)
    };
    // Long lines are cut so that the marked place stays in view.
    let skip = if column > WIDTH - 10 { column - WIDTH / 2 } else { 0 };
    let shown: String = content.chars().skip(skip).take(WIDTH).map(|c| if c == '\t' { ' ' } else { c }).collect();
    let pad = column - 1 - skip;
    let carets = "^".repeat(marked.min(WIDTH.saturating_sub(pad)).max(1));
    let number = line.to_string();
    let gutter = " ".repeat(number.len());
    let drawn = format!("{number} | {shown}\n{gutter} | {}{carets}", " ".repeat(pad));
    Excerpt { position, text: drawn }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn line_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |found| found + 1);
    (line, before[line_start..].chars().count() + 1)
}
