//! Owns the list of commands as values: what each takes, what it gives, what it does to anything besides itself. Whoever
//! lets somebody ask (a prompt, a webhook, an agent, a form) has its commands from here.

use crate::commands::Session;
use crate::commands::apply::ApplyOptions;
use crate::commands::approve::ApproveOptions;
use crate::commands::graph::Picture;
use crate::configuration::reading::Input;
use crate::observation::finding::ImportOptions;
use crate::operations::events::Sink;
use crate::planning::options::PlanOptions;
use provision_diagnostic::{Code, Diagnostic, Failure};
use provision_model::{Address, Json, Map, PlanRow};
use provision_state::{Approval, AuditRow, BackupRow, Checkpoint, HistoryRow, LeaseRow};
use schemars::{JsonSchema, Schema, schema_for};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// What a command does to anything besides itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It looks, and keeps at most what it saw.
    Reads,
    /// It changes infrastructure, or what decides about it. The project's policies are asked, and can refuse it.
    Asks,
    /// It changes only what is the caller's own, or ends what an allowed change began.
    Own,
}

type Run = Box<dyn Fn(&Session, Json, Sink<'_>) -> Result<Json, Failure> + Send + Sync>;

/// A command as a value.
pub struct Command {
    /// As people type it: `provision plan`.
    pub name: &'static str,
    pub effect: Effect,
    /// The JSON schema of what it takes: an object, of which everything may be left out that has a default.
    pub input: Schema,
    /// The JSON schema of what it gives.
    pub output: Schema,
    run: Run,
}

impl Command {
    /// Runs it. Input that does not fit is refused before anything is done; `sink` takes the events of what is done.
    pub fn run(&self, session: &Session, input: Json, sink: Sink<'_>) -> Result<Json, Failure> {
        (self.run)(session, input, sink)
    }
}

fn command<I, O>(
    name: &'static str,
    effect: Effect,
    run: impl Fn(&Session, I, Sink<'_>) -> Result<O, Failure> + Send + Sync + 'static,
) -> Command
where
    I: DeserializeOwned + JsonSchema,
    O: Serialize + JsonSchema,
{
    let run = move |session: &Session, input: Json, sink: Sink<'_>| {
        let input: I = serde_json::from_value(input).map_err(|error| {
            Failure::new(Code::CommandInput, format!("`{name}` cannot take this: {error}"))
                .with_help("Give what its input schema says.")
        })?;
        let output = run(session, input, sink)?;
        serde_json::to_value(output).map_err(|error| {
            Failure::new(Code::CommandInput, format!("what `{name}` gave cannot be written down: {error}"))
                .with_help("Report it.")
        })
    };
    Command { name, effect, input: schema_for!(I), output: schema_for!(O), run: Box::new(run) }
}

/// Takes nothing.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct PlanInput {
    /// A Nickel file; the project's infra.ncl where neither this nor `data` is given.
    file: Option<PathBuf>,
    /// An infrastructure as data.
    data: Option<Json>,
    /// Only these addresses, what they need and what must follow them; an empty list is none.
    target: Option<Vec<String>>,
    /// All but these addresses and what depends on them.
    exclude: Vec<String>,
    /// Plan to take everything down.
    destroy: bool,
    /// Look at the clouds first.
    refresh: bool,
    /// Also read each resource by id.
    deep: bool,
    /// Keep the rows that change nothing.
    all: bool,
}

impl Default for PlanInput {
    fn default() -> Self {
        let (target, exclude) = (None, Vec::new());
        Self { file: None, data: None, target, exclude, destroy: false, refresh: true, deep: false, all: false }
    }
}

impl PlanInput {
    fn source(&self) -> Input {
        match (&self.file, &self.data) {
            (Some(file), _) => Input::File(file.clone()),
            (None, Some(value)) => Input::Data { value: value.clone(), note: None },
            (None, None) => Input::Project,
        }
    }

    fn options(self) -> PlanOptions {
        let Self { target, exclude, destroy, refresh, deep, all, .. } = self;
        PlanOptions { target, exclude, destroy, no_refresh: !refresh, deep, all, ..PlanOptions::default() }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct ApplyInput {
    /// Rows of `provision plan`, as they are.
    rows: Option<Vec<Json>>,
    /// Consent to apply what the project says now, where no rows are given.
    yes: bool,
    /// Operations at a time.
    parallel: usize,
    /// The ids of the approvals that count; all of the plan where they are left out.
    approvals: Option<Vec<String>>,
    /// Why, for the history.
    reason: Option<String>,
}

impl Default for ApplyInput {
    fn default() -> Self {
        Self { rows: None, yes: false, parallel: 16, approvals: None, reason: None }
    }
}

fn apply(session: &Session, input: ApplyInput, destroy: bool, sink: Sink<'_>) -> Result<(), Failure> {
    let ApplyInput { rows, yes, parallel, approvals, reason } = input;
    let options = ApplyOptions { parallel, yes, destroy, approvals, reason, input: Input::Project };
    session.apply(rows.as_deref(), &options, sink)
}

/// Rows, and what kept the command from telling more: they are not all there is.
#[derive(Serialize, JsonSchema)]
struct Looked<T> {
    rows: Vec<T>,
    problems: Vec<Diagnostic>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ApproveInput {
    /// The digest of the plan.
    plan: String,
    /// The role; every role the plan waits for where it is left out.
    role: Option<String>,
    /// The addresses approved; all where they are left out.
    #[serde(default)]
    addresses: Vec<Address>,
    /// How many seconds it holds; a day where it is left out.
    seconds: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ApprovalsInput {
    /// Only those of this plan.
    plan: Option<String>,
    /// The id of an approval to take back.
    revoke: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DeepInput {
    /// Also read each resource by id, for what lists do not show.
    #[serde(default)]
    deep: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChangeInput {
    /// The number of a change of the history.
    serial: i64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum What {
    /// One resource, under an address.
    One { address: String, id: String },
    /// Everything that carries a label.
    Label { key: String, value: String, provider: Option<String> },
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ImportInput {
    what: What,
    /// The types: exactly one for one resource.
    types: Option<Vec<String>>,
    /// The region; the account's where it is left out.
    region: Option<String>,
    /// The account; the provider's own where it is left out.
    account: Option<String>,
    /// Take it although it carries the mark of another state.
    #[serde(default)]
    adopt: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GraphInput {
    /// `dot`, `mermaid` or `svg`.
    format: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OutputInput {
    /// The output; all of them, with what is sensitive masked, where it is left out.
    name: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AddressInput {
    address: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReplaceInput {
    address: String,
    /// Take the mark off again.
    #[serde(default)]
    undo: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MoveInput {
    from: String,
    to: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FolderInput {
    /// The folder of the policies; the one that the project names where it is left out.
    folder: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StateInput {
    /// What `provision state export` gave.
    state: Json,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AuditInput {
    /// The first entry.
    #[serde(default)]
    from: i64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HeadsInput {
    /// Heads of the log that were kept elsewhere.
    #[serde(default)]
    heads: Vec<Checkpoint>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BreakInput {
    /// Why, for the audit log.
    reason: String,
    /// Also from an owner that is alive.
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CatalogInput {
    provider: String,
    /// One catalogue; all where it is left out.
    catalog: Option<String>,
    region: Option<String>,
}

fn rows(plan: crate::planning::planned::Plan) -> Vec<PlanRow> {
    plan.rows.into_iter().map(|planned| planned.row).collect()
}

fn import(session: &Session, input: ImportInput) -> Result<Vec<crate::operations::taking::ImportedRow>, Failure> {
    let ImportInput { what, types, region, account, adopt } = input;
    let options = ImportOptions { region, account, adopt };
    match (what, types.as_deref()) {
        (What::One { address, id }, Some([kind])) => session.import(&address, &id, kind, &options).map(|row| vec![row]),
        (What::One { .. }, _) => Err(Failure::new(Code::ImportArguments, "one resource has one type")
            .with_help("Name its type, `hetzner.server` for instance.")),
        (What::Label { key, value, provider }, types) => {
            session.import_tagged((&key, &value), types, provider.as_deref(), &options)
        }
    }
}

fn approve(session: &Session, input: ApproveInput) -> Result<Vec<Approval>, Failure> {
    let ApproveInput { plan, role, addresses, seconds } = input;
    let options = ApproveOptions { role, addresses, holds: seconds.map(Duration::from_secs) };
    session.approve(&plan, &options)
}

/// Every command that is about a session: a project, its state and its clouds.
pub fn all() -> Vec<Command> {
    use Effect::{Asks, Own, Reads};
    vec![
        command("provision plan", Reads, |on, input: PlanInput, _| {
            on.plan(&input.source(), &input.options()).map(rows)
        }),
        command("provision apply", Asks, |on, input: ApplyInput, sink| apply(on, input, false, sink)),
        command("provision destroy", Asks, |on, input: ApplyInput, sink| apply(on, input, true, sink)),
        command("provision approve", Asks, |on, input, _| approve(on, input)),
        command("provision approvals", Asks, |on, input: ApprovalsInput, _| {
            on.approvals(input.plan.as_deref(), input.revoke.as_deref())
        }),
        command("provision policy accept", Asks, |on, input: FolderInput, _| {
            on.accept_policies(input.folder.as_deref())
        }),
        command("provision drift", Reads, |on, input: DeepInput, _| {
            on.drift(input.deep).map(|(rows, problems)| Looked { rows, problems })
        }),
        command("provision heal", Reads, |on, input: DeepInput, _| {
            on.heal(&PlanOptions { deep: input.deep, ..PlanOptions::default() }).map(rows)
        }),
        command("provision refresh", Reads, |on, input: DeepInput, _| {
            on.refresh_state(input.deep).map(|(rows, problems)| Looked { rows, problems })
        }),
        command("provision recover", Own, |on, _: Nothing, sink| {
            on.recover(sink).map(|settled| Looked { rows: settled.rows, problems: settled.problems })
        }),
        command("provision rollback", Reads, |on, input: ChangeInput, _| {
            on.rollback(input.serial, &PlanOptions::default()).map(rows)
        }),
        command("provision import", Asks, |on, input, _| import(on, input)),
        command("provision graph", Reads, |on, input: GraphInput, _| on.picture(Picture::named(&input.format)?)),
        command("provision output", Reads, |on, input: OutputInput, _| match input.name {
            Some(name) => on.output(&name),
            None => on.outputs().map(Json::Object),
        }),
        command("provision history", Reads, |on, _: Nothing, _| -> Result<Vec<HistoryRow>, Failure> {
            on.workspace.store.history()
        }),
        command("provision history show", Reads, |on, input: ChangeInput, _| on.change_rows(input.serial)),
        command("provision state list", Reads, |on, _: Nothing, _| on.list()),
        command("provision state show", Reads, |on, input: AddressInput, _| on.show(&input.address)),
        command("provision state move", Asks, |on, input: MoveInput, _| on.rename(&input.from, &input.to)),
        command("provision state forget", Asks, |on, input: AddressInput, _| on.forget(&input.address)),
        command("provision state replace", Asks, |on, input: ReplaceInput, _| on.mark(&input.address, input.undo)),
        command("provision state unprotect", Asks, |on, input: AddressInput, _| on.unprotect(&input.address)),
        command("provision state rekey", Asks, |on, _: Nothing, _| on.rekey()),
        command("provision state adopt-project", Asks, |on, _: Nothing, _| on.adopt_project()),
        command("provision state export", Reads, |on, _: Nothing, _| on.workspace.store.export()),
        command("provision state import", Asks, |on, input: StateInput, _| on.import_state(&input.state)),
        command("provision state backup", Own, |on, _: Nothing, _| -> Result<Option<BackupRow>, Failure> {
            on.workspace.store.backup()
        }),
        command("provision audit", Reads, |on, input: AuditInput, _| -> Result<Vec<AuditRow>, Failure> {
            on.workspace.store.audit_page(input.from)
        }),
        command("provision audit head", Reads, |on, _: Nothing, _| on.workspace.store.head()),
        command("provision audit verify", Reads, |on, input: HeadsInput, _| {
            on.workspace.store.verify_audit(&input.heads)
        }),
        command("provision lock show", Reads, |on, _: Nothing, _| -> Result<Option<LeaseRow>, Failure> {
            on.workspace.store.lease_row()
        }),
        command("provision lock break", Own, |on, input: BreakInput, _| {
            on.workspace.store.break_lease(&on.actor.id, &input.reason, input.force)
        }),
        command("provision provider catalog", Reads, |on, input: CatalogInput, _| -> Result<Vec<Map>, Failure> {
            on.catalog(&input.provider, input.catalog.as_deref(), input.region.as_deref())
        }),
    ]
}
