//! Owns `provision apply`: rows of a plan in, events out.

use crate::ProvisionPlugin;
use crate::closures::{provider_flag, with_given};
use crate::open::{environment, parallel, project_flag, project_folder, session, session_in};
use crate::progress::{bar, say};
use crate::settling::Settling;
use indicatif::ProgressBar;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{
    Example, FromValue, HandlerGuard, LabeledError, PipelineData, Record, SignalAction, Signals, Signature, Span,
    Spanned, SyntaxShape, Type, Value,
};
use provision_diagnostic::{Code, Failure, isolated, locked};
use provision_engine::{ApplyOptions, Event, Session, Status, Stop, is_plan_file};
use provision_nu_bridge::{Kind, labeled, resolve_path, rows, shell, stream, to_json};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

pub struct Apply;

impl PluginCommand for Apply {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision apply"
    }

    fn description(&self) -> &str {
        "Apply rows of a plan, and stream what happens."
    }

    fn extra_description(&self) -> &str {
        "Rows on the pipeline are the consent to apply exactly those rows. With nothing on the pipeline, the project is\n\
        planned and applied as a whole, which needs --yes. Policies of the project are asked, whoever calls.\n\
        What a policy marked `@approval(\"role\")` forbids waits: `provision approve` lets it through, once.\n\
        Operations that a crash left open are settled first. Ctrl-C starts nothing new and settles what is in flight before\n\
        the shell returns; a second one leaves that to the next apply."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::ASKS, "deploy", "create", "terraform", "infrastructure"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .optional("file", SyntaxShape::Filepath, "A plan that `provision plan --out` wrote.")
            .named("parallel", SyntaxShape::Int, "Operations at a time, 16 by default.", None)
            .switch("yes", "Apply the whole project without rows on the pipeline.", Some('y'))
            .named(
                "approval",
                SyntaxShape::OneOf(vec![SyntaxShape::String, SyntaxShape::List(Box::new(SyntaxShape::String))]),
                "Ids of the approvals to use; by default all that the plan has.",
                None,
            )
            .named("reason", SyntaxShape::String, "Why, for `provision history` and the audit log.", Some('m'))
            .switch("quiet", "Draw no progress bar.", Some('q'))
            .input_output_types(vec![
                (Type::Nothing, Type::table()),
                (Type::table(), Type::table()),
                (Type::list(Type::Any), Type::table()),
                (Type::record(), Type::table()),
            ])
            .category(super::category());
        project_flag(provider_flag(signature))
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "provision plan | provision apply",
                description: "Apply everything that is to change",
                result: None,
            },
            Example {
                example: "provision plan | policy authorize | where decision == allow | provision apply",
                description: "Apply what the policies allow",
                result: None,
            },
            Example {
                example: "provision apply plan.json --reason 'release 4.2'",
                description: "Apply a plan that another job made",
                result: None,
            },
            Example { example: "provision apply --yes", description: "Plan and apply in one go", result: None },
        ]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let noted = input.metadata_ref().and_then(|metadata| noted(&metadata.custom));
        let mut given = match input {
            PipelineData::Empty | PipelineData::Value(Value::Nothing { .. }, _) => None,
            input => {
                let mut given = Vec::new();
                for row in rows(input, call.head)? {
                    given.push(to_json(&row)?);
                }
                Some(given)
            }
        };
        let session = match (project_folder(engine, call)?, noted) {
            (None, Some((project, environment))) => session_in(plugin, engine, call.head, &project, environment)?,
            (Some(project), Some((_, noted))) => {
                let environment = environment(engine, call)?.or(noted);
                session_in(plugin, engine, call.head, &project, environment)?
            }
            _ => session(plugin, engine, call)?,
        };
        let session = with_given(session, plugin, engine, call)?;
        if let Some(file) = call.opt::<Spanned<String>>(0)? {
            let raised = |failure| labeled(&failure, file.span, "this file");
            if let Some(rows) = &given {
                let message =
                    format!("both a plan file, {}, and {} rows on the pipeline were given", file.item, rows.len());
                return Err(raised(
                    Failure::new(Code::ApplyTwoPlans, message)
                        .with_help("Give one of them: `provision apply FILE`, or rows of a plan on the pipeline."),
                ));
            }
            let text = std::fs::read_to_string(resolve_path(engine, &file.item)?).map_err(|error| {
                let message = format!("the plan {} cannot be read: {error}", file.item);
                raised(
                    Failure::new(Code::PlanFile, message).with_help("Give a file that `provision plan --out` wrote."),
                )
            })?;
            let value: provision_engine::Json = serde_json::from_str(&text).unwrap_or_default();
            given = Some(session.take_plan(&value).map_err(raised)?);
        } else if let Some([one]) = given.as_deref()
            && is_plan_file(one)
        {
            given =
                Some(session.take_plan(one).map_err(|failure| labeled(&failure, call.head, "while applying this"))?);
        }
        let approvals = match call.get_flag_value("approval") {
            None => None,
            Some(Value::String { val, .. }) => Some(vec![val]),
            Some(ids) => Some(Vec::<String>::from_value(ids)?),
        };
        let options = ApplyOptions {
            parallel: parallel(engine, call)?,
            yes: call.has_flag("yes")?,
            destroy: false,
            approvals,
            reason: call.get_flag("reason")?,
            ..ApplyOptions::default()
        };
        start(session, given, options, engine, call)
    }
}

/// The project and the environment that the rows are from.
fn noted(custom: &Record) -> Option<(PathBuf, Option<String>)> {
    let note = custom.get("provision_plan")?.as_record().ok()?;
    let environment = note.get("environment").and_then(|value| value.as_str().ok()).map(str::to_owned);
    Some((PathBuf::from(note.get("project")?.as_str().ok()?), environment))
}

enum Message {
    Event(Box<Event>),
    End(Result<(), Failure>),
}

/// Starts the work on its own thread and streams its events. The plugin stays alive until all of it is settled.
pub fn start(
    session: Session,
    rows: Option<Vec<provision_engine::Json>>,
    options: ApplyOptions,
    engine: &EngineInterface,
    call: &EvaluatedCall,
) -> Result<PipelineData, LabeledError> {
    engine.set_gc_disabled(true)?;
    let stop = session.workspace.host.stop.clone();
    let sign: Sign = Arc::default();
    let (on_signal, on_sign, project) = (stop.clone(), sign.clone(), session.workspace.project.folder.clone());
    let guard = engine.register_signal_handler(Box::new(move |action| {
        if action == SignalAction::Interrupt {
            on_signal.interrupt();
            // Should the shell go on before everything is settled, its next command waits.
            put_up(&on_sign, &project);
        }
    }))?;
    let (sender, receiver) = channel();
    let bar = bar(call.has_flag("quiet")?, "{spinner} {pos}/{len} {elapsed} {msg}", "planning");
    let project = session.workspace.project.folder.clone();
    let worker = {
        let bar = bar.clone();
        std::thread::spawn(move || work(&session, rows.as_deref(), &options, &sender, &bar))
    };
    let mut events = Events {
        receiver,
        worker: Some(worker),
        stop,
        engine: engine.clone(),
        span: call.head,
        over: false,
        early: None,
        project,
        sign,
        _guard: guard,
    };
    // What is refused before the first event is an error of the command itself, which `try` catches without a stream.
    match events.receiver.recv() {
        Ok(Message::End(Err(failure))) => {
            events.over = true;
            return Err(labeled(&failure, call.head, "while applying this"));
        }
        Ok(message) => events.early = Some(message),
        Err(_) => events.over = true,
    }
    // Ctrl-C does not cut the stream here: it is the shell's reader that waits for the next row, and so for what is in flight.
    Ok(stream(events, call.head, Signals::empty()))
}

fn work(
    session: &Session,
    rows: Option<&[provision_engine::Json]>,
    options: &ApplyOptions,
    sender: &Sender<Message>,
    bar: &ProgressBar,
) {
    let sink = |event: Event| {
        match event.status {
            Status::Authorized | Status::Pending => bar.inc_length(1),
            Status::Started => bar.set_message(format!("{} {}", event.action.name(), event.address)),
            Status::Done | Status::Failed | Status::InDoubt | Status::Skipped | Status::NotStarted => bar.inc(1),
            // What a process before this one left is waited for before anything begins.
            Status::Waiting if event.elapsed == 0 => {
                bar.set_message(format!("{}: {}", event.address, event.message.as_deref().unwrap_or_default()));
            }
            _ => {}
        }
        // Nobody reading any more is no reason to stop settling.
        let _ = sender.send(Message::Event(Box::new(event)));
    };
    let result = isolated("the apply", || session.apply(rows, options, &sink)).unwrap_or_else(Err);
    bar.finish_and_clear();
    let _ = sender.send(Message::End(result));
}

/// The sign that this apply still settles something, once it is up.
type Sign = Arc<Mutex<Option<Settling>>>;

fn put_up(sign: &Sign, project: &Path) {
    let mut sign = locked(sign);
    if sign.is_none() {
        *sign = Settling::begin(project);
    }
}

/// The stream of events. After Ctrl-C it gives no row until everything in flight is settled, so that the shell waits for it,
/// and then the error, so that the exit code tells. Dropped early, it stops as after Ctrl-C; the shell is past waiting then,
/// and its next command waits.
struct Events {
    receiver: Receiver<Message>,
    worker: Option<JoinHandle<()>>,
    stop: Stop,
    engine: EngineInterface,
    span: Span,
    over: bool,
    early: Option<Message>,
    project: PathBuf,
    sign: Sign,
    _guard: HandlerGuard,
}

impl Events {
    /// The next message; after a stop was asked for, the end of everything.
    fn message(&mut self) -> Option<Message> {
        let mut message = self.early.take().or_else(|| self.receiver.recv().ok());
        while let (true, Some(Message::Event(event))) = (self.stop.is_requested(), &message) {
            say_event(event);
            message = self.receiver.recv().ok();
        }
        message
    }
}

impl Iterator for Events {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        if self.over {
            return None;
        }
        match self.message() {
            Some(Message::Event(event)) => {
                Some(super::value(&*event, self.span, &[("time", Kind::Date), ("elapsed", Kind::DurationNanos)]))
            }
            Some(Message::End(Err(failure))) => {
                self.over = true;
                Some(Value::error(shell(&failure, self.span, "while applying this"), self.span))
            }
            Some(Message::End(Ok(()))) | None => {
                self.over = true;
                None
            }
        }
    }
}

/// Says how an operation ended that has no row to say it in.
fn say_event(event: &Event) {
    if matches!(event.status, Status::Done | Status::Failed | Status::InDoubt) {
        let status = serde_json::to_value(event.status).unwrap_or_default();
        say(&format!("{} {}: {}", event.action.name(), event.address, status.as_str().unwrap_or_default()));
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if !self.over {
            self.stop.wind_down();
            put_up(&self.sign, &self.project);
        }
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
        if !self.over {
            // The rows have nowhere to go any more; the terminal has.
            for message in self.receiver.try_iter() {
                match message {
                    Message::Event(event) => say_event(&event),
                    Message::End(Err(failure)) => {
                        say(&failure.first.headline());
                        if let Some(help) = &failure.first.help {
                            say(help);
                        }
                    }
                    Message::End(Ok(())) => {}
                }
            }
        }
        *locked(&self.sign) = None;
        // The engine may be gone already.
        let _ = self.engine.set_gc_disabled(false);
    }
}
