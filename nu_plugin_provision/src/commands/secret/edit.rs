//! Owns `provision secret edit`: a secret changed by a closure, or in the user's editor.

use crate::ProvisionPlugin;
use crate::open::project_flag;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::engine::Closure;
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Span, Spanned, SyntaxShape, Type, Value};
use provision_diagnostic::{Code, Failure};
use provision_nu_bridge::{env_paths, env_string, from_json, labeled, to_json};
use serde_json::Value as Json;
use std::hash::{BuildHasher, Hasher};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct SecretEdit;

impl PluginCommand for SecretEdit {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision secret edit"
    }

    fn description(&self) -> &str {
        "Change a secret of the project with a closure, or in your editor; it is made if it is not there."
    }

    fn extra_description(&self) -> &str {
        "The closure gets the value as its argument and as its input, null for a new secret, and gives the new value.\n\
        Without one $env.EDITOR opens: text as it is, other data as JSON, in a folder that only you can enter and that is\n\
        removed afterwards. A value that did not change is not written."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::OWN, "age", "sops", "change", "update", "editor"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .required("name", SyntaxShape::String, "Name of the secret.")
            .optional(
                "closure",
                SyntaxShape::Closure(Some(vec![SyntaxShape::Any])),
                "Gives the new value from the old one; your editor by default.",
            )
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example { example: "provision secret edit app/db", description: "In your editor", result: None },
            Example {
                example: "provision secret edit app/db {|value| $value | upsert password (random chars --length 32) }",
                description: "Give one field of it a new value",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        _: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let secrets = super::secrets(engine, call)?;
        let name: Spanned<String> = call.req(0)?;
        let raised = |failure: Failure| labeled(&failure, name.span, "this secret");
        let before = secrets.find(&name.item).map_err(raised)?;
        let after = match call.opt::<Spanned<Closure>>(1)? {
            Some(closure) => {
                let value = before.as_ref().map_or(Value::nothing(call.head), |json| from_json(json, name.span));
                let value = engine.eval_closure(&closure, vec![value.clone()], Some(value))?;
                if value.is_nothing() {
                    let failure = Failure::new(Code::SecretEdit, "the closure gave nothing; the secret stays")
                        .with_help("Let it give the new value, for example `{|value| $value | upsert port 5432 }`.");
                    return Err(labeled(&failure, closure.span, "this closure"));
                }
                to_json(&value)?
            }
            None => edited(engine, name.span, &name.item, before.as_ref())?,
        };
        let written = secrets.update(&name.item, before.as_ref(), &after).map_err(raised)?;
        Ok(PipelineData::value(super::value(&written, call.head, &[]), None))
    }
}

/// What the user's editor makes of a value.
fn edited(engine: &EngineInterface, span: Span, name: &str, before: Option<&Json>) -> Result<Json, LabeledError> {
    let raised = |message: &str, help: &str| {
        let failure = Failure::new(Code::SecretEdit, message).with_help(help);
        labeled(&failure, span, "this secret")
    };
    let closure = format!("Give a closure: `provision secret edit {name} {{|value| … }}`.");
    // Where the protocol has the standard streams, an editor cannot.
    let terminal = !engine.is_using_stdio() && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !terminal {
        return Err(raised("there is no terminal for an editor", &closure));
    }
    let Some(editor) = env_string(engine, "EDITOR")? else {
        return Err(raised("$env.EDITOR names no editor", &format!("Set $env.EDITOR. {closure}")));
    };
    let (text, is_text) = match before {
        None => (String::new(), true),
        Some(Json::String(text)) => (text.clone(), true),
        Some(data) => (format!("{data:#}\n"), false),
    };
    let on_disk = |_: std::io::Error| raised("the secret cannot be laid down for the editor", &closure);
    let scratch = Scratch::new(&private_base(engine)).map_err(on_disk)?;
    let file = scratch.write(if is_text { "secret.txt" } else { "secret.json" }, &text).map_err(on_disk)?;
    open_editor(engine, &editor, &file).map_err(|message| raised(&message, &format!("Set $env.EDITOR. {closure}")))?;
    let left = std::fs::read_to_string(&file).map_err(on_disk)?;
    if is_text {
        // Editors end the last line; that is of the secret only if it was before.
        let left = if text.ends_with('\n') { left.as_str() } else { left.strip_suffix('\n').unwrap_or(&left) };
        if left.is_empty() {
            return Err(raised("the editor left nothing; the secret stays", "Write something, and save it."));
        }
        return Ok(Json::from(left));
    }
    serde_json::from_str(&left).map_err(|error| {
        let message = format!("the editor left no JSON (line {}, column {})", error.line(), error.column());
        raised(&message, "Edit it again; the secret is as it was.")
    })
}

/// Runs the editor in the foreground, on the terminal of the shell.
fn open_editor(engine: &EngineInterface, editor: &str, file: &Path) -> Result<(), String> {
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or_default();
    let mut command = Command::new(program);
    command.args(words).arg(file);
    let paths = env_paths(engine, "PATH").unwrap_or_default();
    if let (false, Ok(path)) = (paths.is_empty(), std::env::join_paths(paths)) {
        command.env("PATH", path);
    }
    let foreground = engine.enter_foreground().map_err(|_| "the terminal is not free for an editor".to_owned())?;
    let status = command.status();
    drop(foreground);
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the editor `{program}` failed ({status}); the secret stays")),
        Err(_) => Err(format!("the editor `{program}` cannot be started")),
    }
}

/// The folder for what must not stay: in memory where the system has one, else the one for temporary files.
fn private_base(engine: &EngineInterface) -> PathBuf {
    let named = |name: &str| env_string(engine, name).ok().flatten().map(PathBuf::from).filter(|path| path.is_dir());
    named("XDG_RUNTIME_DIR").or_else(|| named("TMPDIR")).unwrap_or_else(std::env::temp_dir)
}

/// A folder that only the user can enter; gone when dropped, with what editors leave beside a file.
struct Scratch(PathBuf);

impl Scratch {
    fn new(base: &Path) -> std::io::Result<Scratch> {
        // Random keys of the standard library; a name that is taken fails, it is not shared.
        let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
        let folder = base.join(format!("nu-provision-{random:016x}"));
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&folder)?;
        Ok(Scratch(folder))
    }

    fn write(&self, name: &str, text: &str) -> std::io::Result<PathBuf> {
        let path = self.0.join(name);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&path)?.write_all(text.as_bytes())?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
