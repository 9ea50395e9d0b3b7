//! Owns `provision plan`: what would change, as rows.

use crate::ProvisionPlugin;
use crate::closures::{provider_flag, with_given};
use crate::open::{environment, project_flag, project_folder, session_in, stoppable};
use crate::progress::Busy;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{
    Example, LabeledError, PipelineData, PipelineMetadata, Record, Signals, Signature, Span, Spanned, SyntaxShape,
    Type, Value, record,
};
use provision_diagnostic::{Code, Failure};
use provision_engine::{Input, PlanOptions, Session, SourceNote, find_project};
use provision_nu_bridge::{labeled, resolve_path, stream, to_json};
use std::path::PathBuf;

pub struct Plan;

impl PluginCommand for Plan {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision plan"
    }

    fn description(&self) -> &str {
        "Show what would change, as rows that `provision apply` takes back."
    }

    fn extra_description(&self) -> &str {
        "The infrastructure is the project's infra.ncl, a Nickel file, or data on the pipeline.\n\
        Only changes are rows; an empty table means that there is nothing to do. Every mistake in the configuration is\n\
        reported in one run, before any call to a cloud. With --target, mistakes in resources that it leaves out are not told,\n\
        and what depends on something that is replaced comes along. With --destroy, the state alone says what there is."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "diff", "preview", "terraform", "infrastructure"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .optional("file", SyntaxShape::Filepath, "Nickel file; the project's infra.ncl by default.")
            .named(
                "target",
                super::texts_shape(),
                "Only these, what they need and what must follow them; an empty list is none.",
                None,
            )
            .named("exclude", super::texts_shape(), "All but these addresses and what depends on them.", None)
            .switch("destroy", "Plan to take everything down.", None)
            .switch(
                "refresh",
                "Look at the clouds first (the default); --refresh=false plans against the state alone.",
                None,
            )
            .switch("deep", "Also read each resource by id: sees fields that lists do not show.", None)
            .switch("all", "Keep the rows that change nothing.", Some('a'))
            .named(
                "out",
                SyntaxShape::Filepath,
                "Also write the plan to this file, signed, for `provision apply`.",
                None,
            )
            .switch("json", "Give the plan as a JSON document instead of rows.", None)
            .input_output_types(vec![
                (Type::Nothing, Type::table()),
                (Type::Nothing, Type::String),
                (Type::Any, Type::table()),
                (Type::Any, Type::String),
            ])
            .category(super::category());
        project_flag(provider_flag(signature))
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example { example: "provision plan", description: "Plan the project in this folder", result: None },
            Example {
                example: "nickel eval infra.ncl | provision plan | where provider == hetzner | provision apply",
                description: "Apply what is to change on one cloud",
                result: None,
            },
            Example {
                example: "provision plan --out plan.json | where action in [replace delete]",
                description: "Write a plan that another job applies with `provision apply plan.json`",
                result: None,
            },
            Example {
                example: "provision plan --target [web] | select address action reason",
                description: "Plan one resource and what it needs",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let file = call.opt::<Spanned<String>>(0)?;
        let note = input.metadata_ref().and_then(|metadata| source_note(&metadata.custom));
        let here = PathBuf::from(engine.get_current_dir()?);
        let span = file.as_ref().map_or(call.head, |file| file.span);
        let source = match &file {
            Some(file) => Input::File(resolve_path(engine, &file.item)?),
            None => match input.into_value(call.head)? {
                Value::Nothing { .. } => Input::Project,
                value => Input::Data { value: to_json(&value)?, note },
            },
        };
        // A file or data need not be in a project yet: the folder becomes one.
        let beside = match &source {
            Input::File(file) => file.parent().map(PathBuf::from),
            Input::Data { note: Some(note), .. } => note.file.parent().map(PathBuf::from),
            Input::Data { .. } => Some(here),
            Input::Project => None,
        };
        let project = match (project_folder(engine, call)?, beside) {
            (Some(project), _) => project,
            (None, Some(folder)) => find_project(&folder).unwrap_or(folder),
            (None, None) => {
                let failure = Failure::new(Code::ConfigNoProject, "there is no infra.ncl here or in a folder above")
                    .with_help("Go to a project folder, name one with --project, or give a Nickel file.");
                return Err(labeled(&failure, call.head, "this needs a project"));
            }
        };
        if !project.is_dir() {
            let failure = Failure::new(Code::ConfigNoProject, format!("there is no folder {}", project.display()))
                .with_help("Check the path of the file.");
            return Err(labeled(&failure, span, "this file"));
        }
        let session = session_in(plugin, engine, span, &project, environment(engine, call)?)?;
        let session = with_given(session, plugin, engine, call)?;
        let _guard = stoppable(engine, &session)?;
        let options = PlanOptions {
            target: super::texts(call, "target")?,
            exclude: super::texts(call, "exclude")?.unwrap_or_default(),
            destroy: call.has_flag("destroy")?,
            no_refresh: matches!(call.get_flag_value("refresh"), Some(Value::Bool { val: false, .. })),
            deep: call.has_flag("deep")?,
            all: call.has_flag("all")?,
            ..PlanOptions::default()
        };
        let raised = |failure| labeled(&failure, span, "while planning this");
        let _busy = Busy::with("planning");
        let plan = session.plan(&source, &options).map_err(raised)?;
        if let Some(file) = call.get_flag::<Spanned<String>>("out")? {
            let path = resolve_path(engine, &file.item)?;
            session.write_plan(&plan, &path).map_err(|failure| labeled(&failure, file.span, "this file"))?;
        }
        if call.has_flag("json")? {
            return Ok(PipelineData::value(Value::string(plan.document().to_string(), call.head), None));
        }
        Ok(table(plan, &session, call.head, engine.signals()))
    }
}

/// The rows of a plan one by one, with a note of where they are from for who applies them.
pub(super) fn table(plan: provision_engine::Plan, session: &Session, span: Span, signals: &Signals) -> PipelineData {
    let rows = plan.rows.into_iter().map(move |planned| super::value(&planned.row, span, &[]));
    let mut custom = Record::new();
    let environment =
        session.workspace.project.environment.as_ref().map_or(Value::nothing(span), |name| Value::string(name, span));
    let note = record! {
        "project" => Value::string(session.workspace.project.folder.to_string_lossy(), span),
        "environment" => environment,
    };
    custom.insert("provision_plan", Value::record(note, span));
    let metadata = PipelineMetadata { custom, ..PipelineMetadata::default() };
    stream(rows, span, signals.clone()).set_metadata(Some(metadata))
}

/// What `nickel eval` noted about its result.
fn source_note(custom: &Record) -> Option<SourceNote> {
    let note = custom.get("nickel_source")?.as_record().ok()?;
    let file = note.get("file")?.as_str().ok()?;
    let digest = note.get("digest")?.as_str().ok()?;
    Some(SourceNote { file: PathBuf::from(file), digest: digest.to_owned() })
}
