//! Owns running the examples in doc comments. Each becomes a field beside the one it documents, in a copy of the file
//! that exists in memory only; so it sees what that field sees, and imports find the copies.

use super::doc::path_text;
use super::{Done, Session};
use crate::explain::Explainer;
use crate::job::{Answer, TestRow};
use crate::request::{Request, Source};
use comrak::nodes::NodeValue;
use nickel_lang_core::ast::{Ast, AstAlloc, InputFormat, Node as AstNode};
use nickel_lang_core::cache::SourcePath;
use nickel_lang_core::error::{Error, EvalError};
use nickel_lang_core::eval::value::{Container, NickelValue, ValueContentRef};
use nickel_lang_core::eval::{Closure, VirtualMachine};
use nickel_lang_core::files::FileId;
use nickel_lang_core::mk_app;
use nickel_lang_core::term::Term;
use nickel_lang_core::term::record::RecordData;
use nickel_lang_core::traverse::{TraverseAlloc, TraverseControl};
use provision_diagnostic::{Code, Diagnostic, Failure};
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Levels of records in which examples are looked for.
const DEPTH: usize = 64;
/// What the names of our fields begin with; no person writes such a name.
const MARK: &str = "\u{1}example ";

/// What an example says it gives.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expected {
    Nothing,
    Value(String),
    /// With a part of the message.
    Error(String),
}

/// One example.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Example {
    /// Shown name of the file.
    file: String,
    code: String,
    expected: Expected,
    /// Its number among those of its comment.
    number: usize,
    /// What is wrong in its syntax, so that it was not put into the copy.
    broken: Option<Diagnostic>,
    /// The path that the field has in its record.
    field: Vec<String>,
}

impl Session {
    pub(super) fn test(&mut self, request: &Request) -> Done {
        let mut mains = Vec::new();
        for source in &request.sources {
            mains.push(self.file_id(source)?);
        }
        let (edges, missing) = self.edges(request, &mains)?;
        Failure::check(missing)?;
        let mut files: Vec<FileId> = mains.iter().copied().chain(edges.iter().map(|edge| edge.to)).collect();
        let mut seen = HashSet::new();
        files.retain(|id| seen.insert(*id) && !self.library_ids.contains(id));
        files.retain(|id| self.context.import_resolver.input_format(*id) == Some(InputFormat::Nickel));
        // Types are those of the files as they are; an example may break what it stands in.
        for main in &mains {
            self.typecheck(request, *main)?;
        }
        let mut examples = Vec::new();
        let mut copies = Session::new(self.library.clone(), self.import_paths.clone(), self.confine.clone());
        for id in files {
            self.copy(request, id, &mut copies, &mut examples)?;
        }
        let rows = copies.run_examples(request, &examples)?;
        Ok((Answer::Tested(rows), mains))
    }

    fn typecheck(&mut self, request: &Request, id: FileId) -> Result<(), Failure> {
        let checked = self.check_one(id);
        checked.map_err(|error| {
            let failure = self.failure(request, error);
            self.forget_unsettled();
            failure
        })
    }

    /// Puts the examples of a file into a copy of it.
    fn copy(
        &mut self,
        request: &Request,
        id: FileId,
        copies: &mut Session,
        examples: &mut Vec<Example>,
    ) -> Result<(), Failure> {
        let alloc = AstAlloc::new();
        let sources = &self.context.import_resolver.sources;
        let ast = match sources.parse_nickel(&alloc, id) {
            Ok(ast) => ast,
            Err(error) => return Err(self.failure(request, Error::ParseErrors(error))),
        };
        let explainer = self.explainer(request);
        let file = explainer.name(id);
        let mut inserted: Vec<(usize, String)> = Vec::new();
        for (at, field, doc) in documented(&ast) {
            for (number, code) in code_blocks(&doc).into_iter().enumerate() {
                let expected = Expected::read(&code);
                let mut example =
                    Example { file: file.clone(), code, expected, number, broken: None, field: field.clone() };
                let parts = std::iter::once(&example.code).chain(match &example.expected {
                    Expected::Value(text) => Some(text),
                    _ => None,
                });
                example.broken = parts.filter_map(|part| syntax(part, &file)).next();
                if example.broken.is_none() {
                    inserted.push((at, example.text(examples.len())));
                }
                examples.push(example);
            }
        }
        let mut text = String::new();
        let source = sources.source(id);
        let mut from = 0;
        inserted.sort_by_key(|(at, _)| *at);
        for (at, field) in inserted {
            text.push_str(source.get(from..at).unwrap_or_default());
            text.push_str(&field);
            from = at;
        }
        text.push_str(source.get(from..).unwrap_or_default());
        if let Some(SourcePath::Path(path, format)) = sources.file_paths.get(&id) {
            let copied = SourcePath::Path(path.clone(), *format);
            let copy = copies.context.import_resolver.sources.add_string(copied, text);
            copies.names.insert(copy, file);
            copies.texts.insert(path.clone(), copy);
        }
        Ok(())
    }

    fn run_examples(&mut self, request: &Request, examples: &[Example]) -> Result<Vec<TestRow>, Failure> {
        let mut rows: Vec<TestRow> = examples
            .iter()
            .filter_map(|example| {
                let broken = example.broken.as_ref()?;
                let path = path_text(&example.field);
                let passed = matches!(&example.expected, Expected::Error(part) if broken.message.contains(part));
                Some(example.row(&path, passed, Some(broken.headline()), None, Duration::ZERO))
            })
            .collect();
        for source in &request.sources {
            let main = match source {
                Source::File(_) => self.file_id(source)?,
                Source::Text { folder, text, .. } => {
                    // The copy was made under the path that the text has as a source.
                    let name = format!("<text {}>", &crate::cache::digest(text.as_bytes())[..16]);
                    let path = nickel_lang_core::cache::normalize_abs_path(&folder.join(name));
                    self.copy_of(path)?
                }
            };
            self.vet(request, main)?;
            let prepared = match self.context.prepare_eval_only(main) {
                Ok(prepared) => prepared,
                Err(error) => return Err(self.failure(request, error)),
            };
            let mut done = HashSet::new();
            self.visit(request, prepared, &mut Vec::new(), examples, &mut done, &mut rows)?;
        }
        Ok(rows)
    }

    fn copy_of(&self, path: PathBuf) -> Result<FileId, Failure> {
        let copy = self.texts.get(&path).copied();
        copy.ok_or_else(|| Failure::new(Code::NickelIo, "there is no source to test"))
    }

    /// Runs the examples of a record and of those in it.
    fn visit(
        &mut self,
        request: &Request,
        value: NickelValue,
        path: &mut Vec<String>,
        examples: &[Example],
        done: &mut HashSet<(String, usize)>,
        rows: &mut Vec<TestRow>,
    ) -> Result<(), Failure> {
        let evaluated = VirtualMachine::new(&mut self.context).eval(value);
        let value = match evaluated {
            Ok(value) => value,
            // What lacks a definition or breaks a contract on its own has no examples to run beneath.
            Err(_) if !path.is_empty() => return Ok(()),
            Err(error) => return Err(self.failure(request, Error::EvalError(error))),
        };
        let fields = match value.content_ref() {
            ValueContentRef::Record(Container::Alloc(record)) => fields(record),
            ValueContentRef::Term(Term::RecRecord(data)) => fields(&data.record),
            _ => return Ok(()),
        };
        for (name, field) in fields {
            let example = name.strip_prefix(MARK).and_then(|number| number.parse::<usize>().ok());
            if let Some((at, example)) = example.and_then(|at| Some((at, examples.get(at)?))) {
                let shown = path_text(&[&path[..], &example.field[..]].concat());
                if done.insert((shown.clone(), at)) {
                    rows.push(self.run_example(request, example, &shown, field));
                }
            } else if path.len() < DEPTH {
                path.push(name);
                self.visit(request, field, path, examples, done, rows)?;
                path.pop();
            }
        }
        Ok(())
    }

    fn run_example(&mut self, request: &Request, example: &Example, path: &str, lazy: NickelValue) -> TestRow {
        let began = Instant::now();
        let checked = self.example_value(&lazy, true);
        let elapsed = began.elapsed();
        match (checked, &example.expected) {
            (Ok(value), Expected::Error(_)) => {
                let message = "it gives a value, but an error was expected".to_owned();
                example.row(path, false, Some(message), Some(value), elapsed)
            }
            (Ok(value), _) => example.row(path, true, None, Some(value), elapsed),
            (Err(error), Expected::Error(part)) => {
                let told = self.told(request, error);
                let passed = told.contains(part);
                let message = (!passed).then(|| format!("it fails in another way: {}", essence(&told)));
                example.row(path, passed, message, Some(essence(&told)), elapsed)
            }
            // Without the comparison it shows whether the example itself failed.
            (Err(_), expected) => match self.example_value(&lazy, false) {
                Ok(value) => {
                    let wanted = match expected {
                        Expected::Value(text) => text.trim(),
                        _ => "",
                    };
                    let message = format!("it gives {value}, not {wanted}");
                    example.row(path, false, Some(message), Some(value), elapsed)
                }
                Err(error) => {
                    let told = essence(&self.told(request, error));
                    example.row(path, false, Some(told.clone()), Some(told), elapsed)
                }
            },
        }
    }

    /// What an example gives, compared with what it says where `check` is set.
    fn example_value(&mut self, lazy: &NickelValue, check: bool) -> Result<String, EvalError> {
        let call = mk_app!(lazy.clone(), NickelValue::bool_value_posless(check));
        let mut machine = VirtualMachine::new(&mut self.context);
        machine.eval_full_closure(Closure::from(call)).map(|closure| closure.value.to_string())
    }

    /// An error with everything it says.
    fn told(&self, request: &Request, error: EvalError) -> String {
        let explainer: Explainer<'_> = self.explainer(request);
        let official = explainer.official_text(Error::EvalError(error));
        official.trim_end().to_owned()
    }
}

/// The sentences of an official error, without the drawing of the copy, which no person has seen.
fn essence(told: &str) -> String {
    let lines = told.lines().take_while(|line| !line.contains("┌─"));
    let sentences: Vec<&str> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
    sentences.join(" ")
}

fn fields(record: &RecordData) -> Vec<(String, NickelValue)> {
    let mut all: Vec<(String, NickelValue)> =
        record.fields.iter().filter_map(|(id, field)| Some((id.label().to_owned(), field.value.clone()?))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

impl Example {
    /// A field that holds the example as a function, so that only calling it evaluates it: of whether to compare.
    fn text(&self, at: usize) -> String {
        let code = match &self.expected {
            Expected::Value(expected) => {
                format!("if check then ((\n{0}\n) | std.contract.Equal (\n{expected}\n)) else (\n{0}\n)", self.code)
            }
            Expected::Nothing | Expected::Error(_) => format!("(\n{}\n)", self.code),
        };
        format!("\"\\u{{1}}example {at}\" | not_exported = fun check => {code}, ")
    }

    fn row(
        &self,
        path: &str,
        passed: bool,
        message: Option<String>,
        actual: Option<String>,
        elapsed: Duration,
    ) -> TestRow {
        TestRow {
            file: self.file.clone(),
            test: format!("{path}/{}", self.number),
            passed,
            expected: match &self.expected {
                Expected::Nothing => None,
                Expected::Value(text) => Some(text.trim().to_owned()),
                Expected::Error(part) if part.is_empty() => Some("error".to_owned()),
                Expected::Error(part) => Some(format!("error: {part}")),
            },
            actual,
            message,
            elapsed,
        }
    }
}

impl Expected {
    /// What the comment that ends an example expects: `# => VALUE`, `# => error` or `# => error: PART OF ITS MESSAGE`,
    /// over as many comment lines as follow.
    fn read(code: &str) -> Self {
        let comments: Vec<&str> =
            code.trim_end().lines().rev().map_while(|line| line.trim_start().strip_prefix('#')).collect();
        let arrow = |line: &&str| line.trim_start().strip_prefix("=>").map(str::to_owned);
        let Some((below, first)) = comments.iter().enumerate().find_map(|(at, line)| Some((at, arrow(line)?))) else {
            return Expected::Nothing;
        };
        let rest = comments[..below].iter().rev().copied();
        let lines = |first: &str| std::iter::once(first).chain(rest).collect::<Vec<_>>().join("\n");
        match first.trim_start().strip_prefix("error:") {
            Some(part) => Expected::Error(lines(part.trim())),
            None if first.trim() == "error" => Expected::Error(String::new()),
            None => Expected::Value(lines(&first)),
        }
    }
}

/// Every documented field of a file: where its definition starts, its name, and the comment.
fn documented(ast: &Ast<'_>) -> Vec<(usize, Vec<String>, String)> {
    use nickel_lang_core::ast::record::FieldPathElem;
    let mut all = Vec::new();
    let _: Option<()> = ast.traverse_ref(
        &mut |node: &Ast<'_>, _: &()| {
            if let AstNode::Record(record) = &node.node {
                for field in record.field_defs {
                    let Some(doc) = field.metadata.doc else { continue };
                    let name = field.path.iter().map(|part| match part {
                        FieldPathElem::Ident(id) => id.label().to_owned(),
                        FieldPathElem::Expr(_) => "<dynamic>".to_owned(),
                    });
                    if let Some(span) = field.pos.into_opt() {
                        all.push((span.start.to_usize(), name.collect(), doc.to_owned()));
                    }
                }
            }
            TraverseControl::Continue
        },
        &(),
    );
    all
}

/// The examples of one comment: the code blocks marked `nickel`; marked `nickel multiline` too, each paragraph is one.
fn code_blocks(doc: &str) -> Vec<String> {
    let arena = comrak::Arena::new();
    let document = comrak::parse_document(&arena, doc, &comrak::Options::default());
    let mut all = Vec::new();
    for node in document.descendants() {
        let data = node.data.borrow();
        let NodeValue::CodeBlock(block) = &data.value else { continue };
        let Some(marks) = block.info.strip_prefix("nickel") else { continue };
        match marks.trim() {
            "ignore" => {}
            "multiline" => all.extend(paragraphs(&block.literal)),
            _ => all.push(block.literal.clone()),
        }
    }
    all
}

fn paragraphs(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in text.lines() {
        match all.last_mut() {
            Some(last) if !line.trim().is_empty() => {
                last.push_str(line);
                last.push('\n');
            }
            _ => all.push(String::new()),
        }
    }
    all.retain(|paragraph| !paragraph.is_empty());
    all
}

/// What is wrong in the syntax of an example.
fn syntax(code: &str, file: &str) -> Option<Diagnostic> {
    let mut scratch = Session::new(None, Vec::new(), None);
    let source =
        Source::Text { name: format!("<example in {file}>"), folder: PathBuf::from("/"), text: code.to_owned() };
    let request = Request { sources: vec![source.clone()], ..Request::default() };
    let id = scratch.file_id(&source).ok()?;
    let error = super::imports_of(&scratch.context.import_resolver, id).err()?;
    Some(*scratch.failure(&request, error).first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_example_expects_is_read_from_its_last_comment() {
        assert_eq!(Expected::read("1 + 1\n# => 2\n\n"), Expected::Value(" 2".into()));
        assert_eq!(Expected::read("x\n# => [\n#  1\n# ]"), Expected::Value(" [\n  1\n ]".into()));
        assert_eq!(Expected::read("x\n  # => error: not a"), Expected::Error("not a".into()));
        assert_eq!(Expected::read("x # => 3\n"), Expected::Nothing);
        assert_eq!(Expected::read("# => 3\nx"), Expected::Nothing);
        assert_eq!(Expected::read("x\n# =>error"), Expected::Error(String::new()));
    }

    #[test]
    fn only_blocks_marked_as_nickel_are_examples() {
        let doc = "Text.\n\n```nickel\n1\n```\n\n```\n2\n```\n\n```nickel ignore\n3\n```\n\n```nickel multiline\na\n\nb\nc\n```\n";
        assert_eq!(code_blocks(doc), ["1\n", "a\n", "b\nc\n"]);
    }
}
