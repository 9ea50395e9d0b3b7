//! Owns turning Nickel's errors into ours: a code, one sentence, the place in the user's own text, and the next step.

use crate::positions::path_text;
use crate::request::Request;
use crate::session::LIBRARY_ROOT;
use crate::walk::{Fault, Found, Place};
use nickel_lang_core::cache::{SourceCache, SourcePath};
use nickel_lang_core::error::report::{ColorOpt, report_as_str};
use nickel_lang_core::error::{
    Error, EvalErrorKind, ImportErrorKind, IntoDiagnostics, Label as NickelLabel, LabelStyle as NickelStyle,
    TypecheckErrorKind,
};
use nickel_lang_core::files::{FileId, Files};
use nickel_lang_core::position::{PosTable, RawSpan, TermPos};
use provision_diagnostic::{Code, Diagnostic, Label, LabelStyle, Position, Source, excerpt, nearest};
use std::collections::{HashMap, HashSet};

/// Knows the files of a context and tells errors in them.
pub struct Explainer<'a> {
    sources: &'a SourceCache,
    names: &'a HashMap<FileId, String>,
    library: &'a HashSet<FileId>,
    joints: HashSet<FileId>,
    request: &'a Request,
    /// A copy, because Nickel adds snippets for values that have no text.
    files: Files,
}

/// Values longer than this are not repeated in a help.
const SHORT: usize = 60;

/// An error in Nickel's words, before it has a place.
struct Told {
    code: Code,
    message: String,
    labels: Vec<NickelLabel<FileId>>,
    help: Vec<String>,
}

impl<'a> Explainer<'a> {
    pub fn new(
        sources: &'a SourceCache,
        names: &'a HashMap<FileId, String>,
        library: &'a HashSet<FileId>,
        joints: HashSet<FileId>,
        request: &'a Request,
    ) -> Self {
        Self { sources, names, library, joints, request, files: sources.files().clone() }
    }

    /// Whether the file was written by the user: neither the standard library, nor built in, nor made by us.
    pub fn is_user(&self, id: FileId) -> bool {
        !self.library.contains(&id)
            && !self.joints.contains(&id)
            && matches!(self.sources.file_paths.get(&id), Some(SourcePath::Path(..)))
    }

    fn stands_in_a_file(&self, id: FileId) -> bool {
        let made =
            matches!(self.sources.file_paths.get(&id), None | Some(SourcePath::Query | SourcePath::Generated(_)));
        !made && !self.joints.contains(&id)
    }

    /// The name under which users see a file.
    pub fn name(&self, id: FileId) -> String {
        if let Some(name) = self.names.get(&id) {
            return name.clone();
        }
        match (self.sources.file_paths.get(&id), &self.request.shown_from) {
            (Some(SourcePath::Path(path, _)), Some(base)) => {
                path.strip_prefix(base).unwrap_or(path).to_string_lossy().into_owned()
            }
            (Some(SourcePath::Path(path, _)), None) => path.to_string_lossy().into_owned(),
            _ => self.files.name(id).to_string_lossy().into_owned(),
        }
    }

    /// An error met before or outside the walk.
    pub fn error(&mut self, error: Error, pos_table: &PosTable) -> Vec<Diagnostic> {
        match error {
            Error::EvalError(error) => {
                let found = Found { fault: Fault::Eval(error), path: Vec::new(), chain: Vec::new() };
                vec![self.found(found, pos_table)]
            }
            Error::ParseErrors(errors) => self.plain(Code::NickelParse, errors),
            Error::TypecheckError(error) => {
                let (code, hint) = match error.borrow_error() {
                    TypecheckErrorKind::ImportError(kind) => return self.import(kind.clone()),
                    TypecheckErrorKind::UnboundIdentifier(id) => {
                        (Code::NickelTypecheck, self.near_identifier(id.label(), id.pos))
                    }
                    _ => (Code::NickelTypecheck, None),
                };
                let mut all = self.plain(code, error);
                if let (Some(first), Some(hint)) = (all.first_mut(), hint) {
                    first.help = Some(hint);
                }
                all
            }
            Error::ImportError(kind) => self.import(*kind),
            Error::ExportError(error) => self.plain(Code::NickelEvalNotSerializable, error),
            Error::IOError(error) => self.plain(Code::NickelIo, error),
            Error::ReplError(error) => self.plain(Code::NickelEvalType, error),
        }
    }

    fn import(&mut self, kind: ImportErrorKind) -> Vec<Diagnostic> {
        match kind {
            ImportErrorKind::ParseErrors(errors, _) => self.plain(Code::NickelParse, errors),
            ImportErrorKind::IOError(ref file, ref reason, _) => {
                let file = file.clone();
                let looked = reason
                    .split_once("looked in [")
                    .map(|(_, rest)| rest.trim_end_matches("])").replace(&format!(", {LIBRARY_ROOT}"), ""));
                let mut all = self.plain(Code::NickelImport, kind);
                if let Some(first) = all.first_mut() {
                    first.message = format!("the import `{file}` cannot be found");
                    first.help = Some(match looked {
                        Some(folders) => format!("Looked in {folders}. {}", Code::NickelImport.next()),
                        None => Code::NickelImport.next().to_owned(),
                    });
                }
                all
            }
            other => self.plain(Code::NickelImport, other),
        }
    }

    /// Nickel's own diagnostics, each with our code.
    fn plain(&mut self, code: Code, error: impl IntoDiagnostics) -> Vec<Diagnostic> {
        let all = error.into_diagnostics(&mut self.files);
        all.into_iter()
            .map(|one| self.place(Told { code, message: one.message, labels: one.labels, help: one.notes }, &[], false))
            .collect()
    }

    /// A fault found on the walk.
    pub fn found(&mut self, found: Found, pos_table: &PosTable) -> Diagnostic {
        let Found { fault, path, chain } = found;
        let at = if path.is_empty() { "the result".to_owned() } else { format!("`{}`", path_text(&path)) };
        let chain: Vec<RawSpan> = chain
            .iter()
            .filter_map(|place| match place {
                Place::Known(pos) => pos.into_opt(),
                Place::Index(index) => pos_table.get(*index).into_opt(),
            })
            .filter(|span| self.is_user(span.src_id))
            .collect();
        let own = |code: Code, message: String, help: Vec<String>| Told { code, message, labels: Vec::new(), help };
        match fault {
            Fault::Missing { name, declared, near } => {
                let mut told =
                    own(Code::NickelEvalMissingField, format!("missing definition for `{name}`"), Vec::new());
                if let Some(near) = near {
                    told.help.push(format!("`{near}` is defined; did you mean `{name}`?"));
                }
                if let Some(span) = declared.into_opt() {
                    told.labels.push(label(NickelStyle::Secondary, span, "required here"));
                }
                // Where the user's own contract or record names the field; the record that lacks it where a built-in does.
                match declared.into_opt().filter(|span| self.is_user(span.src_id)) {
                    Some(span) => {
                        if let Some(record) = chain.first() {
                            told.labels.push(label(NickelStyle::Secondary, *record, "in this record"));
                        }
                        self.place(told, &[span], true)
                    }
                    None => self.place(told, &chain, true),
                }
            }
            Fault::NotData { kind } => {
                let message = format!("{at} is {kind}, not data");
                self.place(own(Code::NickelEvalNotSerializable, message, Vec::new()), &chain, true)
            }
            Fault::Inexact { exact } => {
                let digits: String = exact.chars().take(40).collect();
                let more = if digits.len() < exact.len() { "…" } else { "" };
                let message = match exact.contains('/') {
                    true => format!("{at} is {digits}{more}, which has no exact decimal form"),
                    false => format!("{at} is {digits}{more}, an integer too large to be kept exactly"),
                };
                self.place(own(Code::NickelEvalInexact, message, Vec::new()), &chain, true)
            }
            Fault::TooDeep => {
                let message = format!(
                    "{} is nested too deeply",
                    path.first().map_or(at.clone(), |first| format!("`{}`", path_text(std::slice::from_ref(first))))
                );
                self.place(own(Code::NickelEvalLimit, message, Vec::new()), &chain, true)
            }
            Fault::Eval(mut error) => {
                let code = code_of(&error.error);
                let hint = match &error.error {
                    EvalErrorKind::FieldMissing { id, field_names, .. } => {
                        let mut names: Vec<&str> = field_names.iter().map(|name| name.label()).collect();
                        names.sort_unstable();
                        nearest(id.label(), names.iter().copied()).map(did_you_mean).or_else(|| the_fields(&names))
                    }
                    EvalErrorKind::UnboundIdentifier(id, pos) => self.near_identifier(id.label(), *pos),
                    _ => None,
                };
                let reworded = match &error.error {
                    EvalErrorKind::MergeIncompatibleArgs { .. } => {
                        Some(format!("two definitions of {at} cannot be merged"))
                    }
                    EvalErrorKind::InfiniteRecursion(..) => Some(format!("{at} is defined by itself")),
                    _ => None,
                };
                let is_type = matches!(
                    error.error,
                    EvalErrorKind::TypeError { .. }
                        | EvalErrorKind::UnaryPrimopTypeError { .. }
                        | EvalErrorKind::NAryPrimopTypeError { .. }
                );
                error.ctxt.pos_table = pos_table.clone();
                let mut all = error.into_diagnostics(&mut self.files).into_iter();
                let Some(first) = all.next() else {
                    return self.place(own(code, format!("{at} cannot be evaluated"), Vec::new()), &chain, true);
                };
                let mut told = Told { code, message: first.message, labels: first.labels, help: first.notes };
                if is_type {
                    // Nickel's title says only that there is a type error; its note says which.
                    if let Some(note) = told.help.first() {
                        told.message = note.clone();
                    }
                    told.help = told.labels.first().map(|label| label.message.clone()).into_iter().collect();
                }
                if let Some(message) = reworded {
                    told.message = message;
                }
                if let Some(hint) = hint {
                    told.help.retain(|note| !note.starts_with("Did you mean"));
                    told.help.insert(0, hint);
                }
                self.place(told, &chain, false)
            }
        }
    }

    /// Chooses the place to show: a marked place in the user's text, or the innermost value of the user's round it.
    fn place(&self, told: Told, chain: &[RawSpan], chain_first: bool) -> Diagnostic {
        let mine = |style: NickelStyle| {
            told.labels.iter().find(|label| label.style == style && self.is_user(label.file_id)).map(span_of)
        };
        let around = chain.first().map(|span| (span.src_id, span.start.to_usize(), span.end.to_usize()));
        let marked = mine(NickelStyle::Primary);
        let chosen = if chain_first { around.or(marked) } else { marked.or(around) };
        let chosen = chosen.or_else(|| mine(NickelStyle::Secondary)).or_else(|| {
            // A place in the library is better than none; a snippet or a text of ours, which stand in no file, are not.
            told.labels.iter().find(|label| self.stands_in_a_file(label.file_id)).map(span_of)
        });
        let mut lines = told.message.lines();
        // Parse errors name the whole path of the file, which the position does too.
        let message = lines.next().unwrap_or_default().split(" when parsing /").next().unwrap_or_default();
        let mut message = message.trim_end_matches('.').to_owned();
        let mut lines = lines.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty());
        // What a contract says of itself stands in the second line.
        if let Some(said) = lines.next() {
            message = format!("{message}: {said}");
        }
        let mut help: Vec<String> = lines.collect();
        help.extend(told.help);
        if help.is_empty() {
            help.push(told.code.next().to_owned());
        }
        for label in &told.labels {
            if label.message.starts_with("evaluated to this") && !self.is_user(label.file_id) {
                let value = self.files.source(label.file_id).get(label.range.clone()).unwrap_or_default();
                if !value.is_empty() && value.len() <= SHORT {
                    help.push(format!("The value is {value}."));
                }
            } else if self.is_user(label.file_id) && chosen != Some(span_of(label)) && !label.message.is_empty() {
                help.push(format!("{}: {}", label.message, self.position(label)));
            }
        }
        let mut diagnostic = Diagnostic::error(told.code, message).with_help(help.join("\n"));
        if let Some((id, start, end)) = chosen {
            let name = self.name(id);
            let drawn = excerpt(Source { name: &name, text: self.files.source(id) }, start..end);
            diagnostic = diagnostic.with_excerpt(Some(drawn));
        }
        for label in &told.labels {
            if chosen == Some(span_of(label)) {
                if let Some(first) = diagnostic.labels.first_mut() {
                    first.message.clone_from(&label.message);
                }
            } else if self.stands_in_a_file(label.file_id) {
                let style = LabelStyle::Secondary;
                diagnostic.labels.push(Label { style, message: label.message.clone(), position: self.position(label) });
            }
        }
        diagnostic
    }

    /// A span as users see it.
    pub fn position_of(&self, span: RawSpan) -> Position {
        self.position(&label(NickelStyle::Primary, span, ""))
    }

    /// The error as the official command prints it, without colours.
    pub fn official_text(mut self, error: Error) -> String {
        report_as_str(&mut self.files, error, ColorOpt::Never)
    }

    fn position(&self, label: &NickelLabel<FileId>) -> Position {
        let name = self.name(label.file_id);
        excerpt(Source { name: &name, text: self.files.source(label.file_id) }, label.range.clone()).position
    }

    /// The name bound in the same file that is nearest to an unbound one.
    fn near_identifier(&self, name: &str, pos: TermPos) -> Option<String> {
        let span = pos.into_opt()?;
        let text = self.files.source(span.src_id);
        let is_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '\'');
        let words: HashSet<&str> = text
            .split(|letter: char| !is_word(letter))
            .filter(|word| *word != name && word.starts_with(|first: char| first.is_alphabetic() || first == '_'))
            .collect();
        let mut words: Vec<&str> = words.into_iter().chain(["std"]).collect();
        words.sort_unstable();
        nearest(name, words).map(did_you_mean)
    }
}

fn did_you_mean(name: &str) -> String {
    format!("Did you mean `{name}`?")
}

/// The fields there are, where they are few enough to be read.
fn the_fields(names: &[&str]) -> Option<String> {
    match names {
        [] => Some("The record has no fields.".to_owned()),
        few if few.len() <= 12 => Some(format!("The record has the fields `{}`.", few.join("`, `"))),
        _ => None,
    }
}

fn span_of(label: &NickelLabel<FileId>) -> (FileId, usize, usize) {
    (label.file_id, label.range.start, label.range.end)
}

fn label(style: NickelStyle, span: RawSpan, message: &str) -> NickelLabel<FileId> {
    NickelLabel::new(style, span.src_id, span.start.to_usize()..span.end.to_usize()).with_message(message)
}

fn code_of(error: &EvalErrorKind) -> Code {
    match error {
        EvalErrorKind::BlameError { .. } | EvalErrorKind::IllegalPolymorphicTailAccess { .. } => {
            Code::NickelEvalContract
        }
        EvalErrorKind::MissingFieldDef { .. } | EvalErrorKind::FieldMissing { .. } => Code::NickelEvalMissingField,
        EvalErrorKind::MergeIncompatibleArgs { .. } => Code::NickelEvalMerge,
        EvalErrorKind::InfiniteRecursion(..) => Code::NickelEvalInfiniteRecursion,
        EvalErrorKind::SerializationError(_) => Code::NickelEvalNotSerializable,
        EvalErrorKind::ParseError(_) => Code::NickelParse,
        _ => Code::NickelEvalType,
    }
}

/// The same without repetitions: one broken definition is met again wherever it is used.
pub fn distinct(all: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut seen = HashSet::new();
    all.into_iter()
        .filter(|one| {
            let at = one.position.as_ref().map(|at| (at.file.clone(), at.start, at.end));
            seen.insert((one.code, one.message.clone(), at))
        })
        .collect()
}
