//! Owns how a failure is raised and how diagnostics are shown as a table.

use crate::from_json;
use nu_protocol::{LabeledError, Record, ShellError, Span, Value};
use provision_diagnostic::{Diagnostic, Failure, Label, LabelStyle, Position, Severity, printable};
use serde_json::Value as Json;

/// Errors shown beneath the first; a person mends a few at a time.
const SHOWN: usize = 20;

/// The error a command raises: the first diagnostic with its position in the message and its source lines in the help,
/// the others beneath it. Only `span`, which came from the call or a value, is labelled: an offset meant for a Nickel
/// or Cedar file would show a line of some unrelated text of Nushell's.
pub fn labeled(failure: &Failure, span: Span, label: &str) -> LabeledError {
    let mut error = plain(&failure.first).with_label(label, span);
    for other in failure.others.iter().take(SHOWN) {
        error = error.with_inner(ShellError::from(plain(other)));
    }
    if failure.others.len() > SHOWN {
        let more = format!("and {} more", failure.others.len() - SHOWN);
        error = error.with_inner(ShellError::from(LabeledError::new(more).with_code(failure.first.code.as_str())));
    }
    error
}

/// The same as a [`ShellError`], for error values in a stream.
pub fn shell(failure: &Failure, span: Span, label: &str) -> ShellError {
    labeled(failure, span, label).into()
}

/// Names of files, of things, and what clouds say may hold anything: nothing of it steers the terminal.
fn plain(diagnostic: &Diagnostic) -> LabeledError {
    let error = LabeledError::new(printable(&diagnostic.headline())).with_code(diagnostic.code.as_str());
    let help: Vec<&str> = diagnostic.help.iter().chain(&diagnostic.excerpt).map(String::as_str).collect();
    if help.is_empty() { error } else { error.with_help(printable(&help.join("\n\n"))) }
}

/// Diagnostics as the one table shape of every check command.
pub fn diagnostics_table(diagnostics: &[Diagnostic], span: Span) -> Value {
    Value::list(diagnostics.iter().map(|diagnostic| diagnostic_row(diagnostic, span)).collect(), span)
}

fn diagnostic_row(diagnostic: &Diagnostic, span: Span) -> Value {
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let labels = diagnostic.labels.iter().map(|label| label_row(label, span)).collect();
    let mut row = Record::new();
    row.push("severity", Value::string(severity, span));
    row.push("code", Value::string(diagnostic.code.as_str(), span));
    row.push("message", Value::string(printable(&diagnostic.message), span));
    push_position(&mut row, diagnostic.position.as_ref(), span);
    row.push("labels", Value::list(labels, span));
    let help = diagnostic.help.as_deref().map(printable);
    row.push("help", from_json(&help.map_or(Json::Null, Json::from), span));
    Value::record(row, span)
}

fn label_row(label: &Label, span: Span) -> Value {
    let style = match label.style {
        LabelStyle::Primary => "primary",
        LabelStyle::Secondary => "secondary",
    };
    let mut row = Record::new();
    row.push("style", Value::string(style, span));
    row.push("message", Value::string(printable(&label.message), span));
    push_position(&mut row, Some(&label.position), span);
    Value::record(row, span)
}

fn push_position(row: &mut Record, position: Option<&Position>, span: Span) {
    let number = |of: fn(&Position) -> usize| match position.and_then(|position| i64::try_from(of(position)).ok()) {
        Some(number) => Value::int(number, span),
        None => Value::nothing(span),
    };
    row.push("file", position.map_or(Value::nothing(span), |position| Value::string(&position.file, span)));
    row.push("line", number(|at| at.line));
    row.push("column", number(|at| at.column));
    row.push("end_line", number(|at| at.end_line));
    row.push("end_column", number(|at| at.end_column));
    row.push("start", number(|at| at.start));
    row.push("end", number(|at| at.end));
}

#[cfg(test)]
mod tests {
    use super::*;
    use provision_diagnostic::Code;
    use provision_diagnostic::{Source, excerpt};

    fn two() -> Vec<Diagnostic> {
        let at = excerpt(Source { name: "a.ncl", text: "{ x = 3 }" }, 6..7);
        let placed =
            Diagnostic::error(Code::NickelEvalContract, "bad `x`").with_excerpt(Some(at)).with_help("Mend it.");
        vec![placed, Diagnostic::error(Code::NickelIo, "no file")]
    }

    #[test]
    fn an_error_carries_code_position_next_step_and_the_others() {
        let error = labeled(&Failure::check(two()).unwrap_err(), Span::test_data(), "while evaluating this");
        assert_eq!(error.msg, "bad `x` (a.ncl:1:7)");
        assert_eq!(error.code.as_deref(), Some(Code::NickelEvalContract.as_str()));
        assert_eq!(error.help.as_deref(), Some("Mend it.\n\n1 | { x = 3 }\n  |       ^"));
        assert_eq!((error.labels.len(), error.inner.len()), (1, 1));
        let ShellError::LabeledError(inner) = &error.inner[0] else { panic!("{:?}", error.inner) };
        assert!(inner.labels.is_empty());
        assert_eq!(inner.code.as_deref(), Some(Code::NickelIo.as_str()));
    }

    #[test]
    fn nothing_in_an_error_steers_the_terminal() {
        let name = "a\u{1b}]0;owned\u{7}\u{202e}.ncl";
        let at = excerpt(Source { name, text: "{ x = \u{1b}[31m }" }, 6..7);
        let found = Diagnostic::error(Code::NickelIo, format!("no `{name}`\0")).with_excerpt(Some(at)).with_help(name);
        let error = labeled(&found.clone().into(), Span::test_data(), "here");
        let row = diagnostics_table(&[found], Span::test_data()).as_list().unwrap()[0].clone();
        let message = row.get_data_by_key("message").unwrap().as_str().unwrap().to_owned();
        let help = row.get_data_by_key("help").unwrap().as_str().unwrap().to_owned();
        for text in [error.msg, error.help.unwrap(), message, help] {
            assert!(text.contains("\\u{1b}") && !text.contains(['\u{1b}', '\u{7}', '\u{202e}', '\0']), "{text:?}");
        }
    }

    #[test]
    fn the_table_always_has_all_columns() {
        let table = diagnostics_table(&two(), Span::test_data());
        let columns = [
            "severity",
            "code",
            "message",
            "file",
            "line",
            "column",
            "end_line",
            "end_column",
            "start",
            "end",
            "labels",
            "help",
        ];
        for row in table.as_list().unwrap() {
            let names: Vec<&String> = row.as_record().unwrap().columns().collect();
            assert_eq!(names, columns);
        }
        let second = table.as_list().unwrap()[1].as_record().unwrap();
        assert!(second.get("file").unwrap().is_nothing() && second.get("line").unwrap().is_nothing());
    }
}
