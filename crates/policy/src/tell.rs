//! Owns turning Cedar's errors into ours.

use miette::Diagnostic as CedarDiagnostic;
use provision_diagnostic::{Code, Diagnostic, Source, excerpt};
use std::ops::Range;

/// A Cedar error in one sentence, at its place in the text it speaks of, where it has one.
pub fn diagnostic(code: Code, error: &dyn CedarDiagnostic, source: Option<Source<'_>>) -> Diagnostic {
    let text = sentence(error);
    let (message, mut help) = match text.split_once('\n') {
        Some((first, rest)) => (first.to_owned(), vec![rest.trim().to_owned()]),
        None => (text, Vec::new()),
    };
    help.extend(first_help(error));
    if help.is_empty() {
        help.push(code.next().to_owned());
    }
    let at = source.and_then(|source| Some(excerpt(source, first_range(error)?)));
    Diagnostic::error(code, message.trim_end_matches('.')).with_help(help.join("\n")).with_excerpt(at)
}

/// The same in words alone.
pub fn text(error: &dyn CedarDiagnostic) -> String {
    sentence(error).lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
}

/// The error and what caused it, since Cedar's outer errors often say only that something failed.
fn sentence(error: &dyn CedarDiagnostic) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = inner.source();
    }
    text
}

fn first_help(error: &dyn CedarDiagnostic) -> Option<String> {
    let own = error.help().map(|help| help.to_string());
    own.or_else(|| error.diagnostic_source().and_then(first_help))
}

/// The first marked range of an error or of what it is about.
pub fn first_range(error: &dyn CedarDiagnostic) -> Option<Range<usize>> {
    let own =
        error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset()..label.offset() + label.len());
    own.or_else(|| error.diagnostic_source().and_then(first_range))
        .or_else(|| error.related().and_then(|mut related| related.find_map(first_range)))
}
