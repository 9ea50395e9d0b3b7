//! Owns providers that are there for one command: `--provider {NAME: {create: {|r| …}, …}}`.

use crate::ProvisionPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall};
use nu_protocol::engine::Closure;
use nu_protocol::{LabeledError, Record, ShellError, Signature, Span, Spanned, SyntaxShape, Value};
use provision_diagnostic::{Code, Failure, nearest};
use provision_engine::{Json, Session};
use provision_nu_bridge::{from_json, labeled, to_json};
use provision_registry::{Manifest, given};
use provision_worker::{Asked, COMMANDS, Commands, Fault, Raised};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How often whoever waits for a closure looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(20);

/// Adds the flag of commands that may ask a provider.
pub fn provider_flag(signature: Signature) -> Signature {
    signature.named(
        "provider",
        SyntaxShape::Record(Default::default()),
        "Providers of this command alone, `{NAME: {schema: …, create: {|r| …}, read: …, list: …, update: …, delete: …}}`.",
        None,
    )
}

/// The session with the providers that `--provider` gives.
pub fn with_given(
    mut session: Session,
    plugin: &ProvisionPlugin,
    engine: &EngineInterface,
    call: &EvaluatedCall,
) -> Result<Session, LabeledError> {
    let Some(all) = call.get_flag_value("provider") else { return Ok(session) };
    let span = all.span();
    let Value::Record { val: all, .. } = all else {
        return Err(wrong("`--provider` takes a record".to_owned(), "Give `{NAME: {create: {|r| …}, …}}`.", span));
    };
    let manifests = all
        .iter()
        .map(|(name, provider)| provided(name, provider, plugin, engine))
        .collect::<Result<Vec<Manifest>, LabeledError>>()?;
    let registry = &mut session.workspace.project.registry;
    *registry = Arc::new(registry.with(manifests));
    Ok(session)
}

fn wrong(message: String, help: &str, span: Span) -> LabeledError {
    labeled(&Failure::new(Code::ProviderModule, message).with_help(help), span, "this provider")
}

fn provided(
    name: &str,
    provider: &Value,
    plugin: &ProvisionPlugin,
    engine: &EngineInterface,
) -> Result<Manifest, LabeledError> {
    let span = provider.span();
    let shape = "Give `{schema: …, create: {|r| …}, read: {|r| …}, list: {|r| …}, update: {|r| …}, delete: {|r| …}}`.";
    let Value::Record { val: parts, .. } = provider else {
        return Err(wrong(format!("the provider `{name}` is no record"), shape, span));
    };
    if let Some((part, value)) = parts.iter().find(|(part, _)| !COMMANDS.contains(&part.as_str())) {
        let near = nearest(part, COMMANDS).map(|near| format!("Did you mean `{near}`?"));
        let message = format!("the provider `{name}` has the unknown part `{part}`");
        return Err(wrong(message, near.as_deref().unwrap_or(shape), value.span()));
    }
    let missing: Vec<&str> = COMMANDS.into_iter().filter(|part| !parts.contains(part)).collect();
    if !missing.is_empty() {
        let message = format!("the provider `{name}` lacks {}", missing.join(", "));
        return Err(wrong(message, shape, span));
    }
    let schema = schema(name, parts, engine)?;
    let closures = closures(name, parts)?;
    let commands = Arc::new(Closures { engine: engine.clone(), closures, span });
    given(name, schema, commands, &plugin.evaluator).map_err(|failure| labeled(&failure, span, "this provider"))
}

/// What it says of itself: data, or a closure that gives it.
fn schema(name: &str, parts: &Record, engine: &EngineInterface) -> Result<Json, LabeledError> {
    match parts.get("schema") {
        Some(Value::Closure { val, internal_span, .. }) => {
            let closure = Spanned { item: (**val).clone(), span: *internal_span };
            Ok(to_json(&engine.eval_closure(&closure, Vec::new(), None)?)?)
        }
        Some(data) => Ok(to_json(data)?),
        None => {
            Err(wrong(format!("the provider `{name}` lacks its schema"), "Add `schema: {types: …}`.", Span::unknown()))
        }
    }
}

fn closures(name: &str, parts: &Record) -> Result<HashMap<String, Spanned<Closure>>, LabeledError> {
    let commands = parts.iter().filter(|(part, _)| *part != "schema");
    commands
        .map(|(part, value)| match value {
            Value::Closure { val, internal_span, .. } => {
                Ok((part.clone(), Spanned { item: (**val).clone(), span: *internal_span }))
            }
            other => Err(wrong(
                format!("`{part}` of the provider `{name}` is no closure"),
                "Give `{|request| …}`.",
                other.span(),
            )),
        })
        .collect()
}

/// The commands of a provider as closures of the session that calls.
struct Closures {
    engine: EngineInterface,
    closures: HashMap<String, Spanned<Closure>>,
    span: Span,
}

impl Commands for Closures {
    fn call(&self, command: &str, request: &Json, asked: &Asked<'_>) -> Result<Json, Fault> {
        let Some(closure) = self.closures.get(command).cloned() else {
            return Err(Fault::NotBegun(format!("there is no closure `{command}`")));
        };
        let (engine, value) = (self.engine.clone(), from_json(request, self.span));
        let (sender, answer) = channel();
        // The shell evaluates it; on a thread of its own, whoever waits too long can go.
        std::thread::spawn(move || {
            let _ = sender.send(engine.eval_closure(&closure, vec![value], None));
        });
        let begun = Instant::now();
        loop {
            match answer.recv_timeout(LOOK) {
                Ok(Ok(Value::Error { error, .. })) => return Err(fault(*error)),
                Ok(Ok(value)) => return to_json(&value).map_err(fault),
                Ok(Err(error)) => return Err(fault(error)),
                Err(RecvTimeoutError::Disconnected) => return Err(Fault::Ended("the shell gave no answer".to_owned())),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if asked.interrupt.load(Ordering::Relaxed) {
                return Err(Fault::Interrupted);
            }
            if begun.elapsed() > asked.limit {
                return Err(Fault::Hung(asked.limit));
            }
        }
    }
}

fn fault(error: ShellError) -> Fault {
    if matches!(error, ShellError::Interrupted { .. }) {
        return Fault::Ended("it was interrupted".to_owned());
    }
    let mut error = LabeledError::from_diagnostic(&error);
    // An error within a block stands beneath that of the command that ran it.
    while error.code.as_deref().is_none_or(|code| code.starts_with("nu::"))
        && let Some(inner) = error.inner.first()
    {
        error = LabeledError::from_diagnostic(inner);
    }
    Fault::Raised(Box::new(Raised { message: error.msg, code: error.code, help: error.help, place: None }))
}
