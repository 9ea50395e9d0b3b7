//! Owns `nickel format`: the official formatting.

use crate::NickelPlugin;
use crate::input::{Prepared, Sources};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type, Value, record};
use provision_diagnostic::{Code, Failure};
use provision_nickel::{Request, Source};
use std::io::Write;
use std::path::Path;

pub struct Format;

/// One text before and after.
struct Formatted {
    /// As the user named it.
    name: String,
    file: Option<std::path::PathBuf>,
    before: String,
    after: String,
}

impl PluginCommand for Format {
    type Plugin = NickelPlugin;

    fn name(&self) -> &str {
        "nickel format"
    }

    fn description(&self) -> &str {
        "Format Nickel text as the official command does."
    }

    fn extra_description(&self) -> &str {
        "With --in-place files are written, each whole or not at all; with --check nothing is, and a file that is not formatted is an error.\n\
        Both give rows `file, changed`."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["ncl", "fmt", "pretty", "style", "lint"]
    }

    fn signature(&self) -> Signature {
        let outputs = Type::one_of([Type::String, Type::table()]);
        Signature::build(self.name())
            .rest("file", SyntaxShape::Filepath, "Files to format.")
            .switch("in-place", "Write the files instead of returning the text.", Some('i'))
            .switch("check", "Raise an error if a file is not formatted.", Some('c'))
            .input_output_types(vec![
                (Type::Nothing, outputs.clone()),
                (Type::String, outputs.clone()),
                (Type::Any, outputs.clone()),
            ])
            .category(super::category())
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: r#""{a=1,b = [1,2]}" | nickel format"#,
                description: "Format text",
                result: Some(Value::test_string("{ a = 1, b = [1, 2] }\n")),
            },
            Example {
                example: "nickel format --in-place ...(glob **/*.ncl)",
                description: "Format all files of a folder",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        plugin: &NickelPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let files: Vec<Spanned<String>> = call.rest(0)?;
        let sources = match files.is_empty() {
            true => Sources::text(engine, call, input)?,
            false => Sources::files(engine, &files)?,
        };
        let raise = |failure: Failure| sources.error(&failure);
        let prepared = Prepared::new(plugin, engine, call, &sources)?;
        let mut all = Vec::new();
        for source in &sources.sources {
            all.push(format(plugin, source, &prepared.request, &sources.here).map_err(raise)?);
        }
        let span = call.head;
        let rows = |all: &[Formatted]| {
            let row = |one: &Formatted| {
                record! {
                    "file" => Value::string(&one.name, span),
                    "changed" => Value::bool(one.before != one.after, span),
                }
            };
            PipelineData::value(Value::list(all.iter().map(|one| Value::record(row(one), span)).collect(), span), None)
        };
        if call.has_flag("check")? {
            let unformatted: Vec<&str> =
                all.iter().filter(|one| one.before != one.after).map(|one| one.name.as_str()).collect();
            if unformatted.is_empty() {
                return Ok(rows(&all));
            }
            let message = format!("not formatted: {}", unformatted.join(", "));
            let next = "Run `nickel format --in-place` on it.";
            return Err(raise(Failure::new(Code::NickelFormat, message).with_help(next)));
        }
        if call.has_flag("in-place")? {
            for one in all.iter().filter(|one| one.before != one.after) {
                let Some(file) = &one.file else {
                    let message = "text on the pipeline has no place to be written to";
                    return Err(raise(Failure::new(Code::NickelIo, message).with_help("Leave out --in-place.")));
                };
                replace(file, &one.after).map_err(|error| {
                    let message = format!("`{}` cannot be written: {error}", one.name);
                    raise(Failure::new(Code::NickelIo, message).with_help("Check that its folder may be written to."))
                })?;
            }
            return Ok(rows(&all));
        }
        match &all[..] {
            [one] => Ok(PipelineData::value(Value::string(&one.after, span), None)),
            _ => Err(raise(
                Failure::new(Code::NickelConfig, "several files have no one text")
                    .with_help("Give one file, or --in-place, or --check."),
            )),
        }
    }
}

fn format(plugin: &NickelPlugin, source: &Source, request: &Request, here: &Path) -> Result<Formatted, Failure> {
    let (name, file, before) = match source {
        Source::Text { name, text, .. } => (name.clone(), None, text.clone()),
        Source::File(path) => {
            let name = path.strip_prefix(here).unwrap_or(path).display().to_string();
            let text = std::fs::read_to_string(path).map_err(|error| {
                let message = match error.kind() {
                    std::io::ErrorKind::NotFound => format!("there is no file `{name}`"),
                    _ => format!("`{name}` cannot be read: {error}"),
                };
                Failure::new(Code::NickelIo, message).with_help("Check that the path exists and is readable.")
            })?;
            (name, Some(path.clone()), text)
        }
    };
    let text = Source::Text { name: name.clone(), folder: here.to_owned(), text: before.clone() };
    let after = plugin.evaluator.format(&Request { sources: vec![text], ..request.clone() })?;
    Ok(Formatted { name, file, before, after })
}

/// Writes beside the file and moves over it, with its permissions.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let file = file.canonicalize()?;
    let mut new = tempfile::NamedTempFile::new_in(file.parent().unwrap_or(Path::new("/")))?;
    new.write_all(text.as_bytes())?;
    new.as_file().set_permissions(std::fs::metadata(&file)?.permissions())?;
    new.as_file().sync_all()?;
    new.persist(&file)?;
    Ok(())
}
