//! Owns planning: configuration, state and world in, rows and their graph out.

use crate::changes::{creation, masked, removal};
use crate::desired::{needs, region_of, with_defaults};
use crate::output::attribute_of;
use crate::project::{Input, Located};
use crate::question::Questions;
use crate::refresh::{World, current_fields};
use crate::{Session, validate};
use indexmap::IndexMap;
use provision_diagnostic::Failure;
use provision_model::{
    AccountConfig, Action, Address, Change, Comparison, Declaration, Disruption, Graph, Json, Lifecycle, Map, PlanRow,
    Problem, Resource, compare, digest, has_secret, references, resolve,
};
use provision_registry::TypeSpec;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// The version of the stored shape.
const PLAN_VERSION: u32 = 1;

/// What to plan.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// Only these and what they need.
    pub target: Vec<String>,
    /// All but these and what depends on them.
    pub exclude: Vec<String>,
    /// Take everything down.
    pub destroy: bool,
    /// Do not look at the world.
    pub no_refresh: bool,
    /// Also read each resource by id.
    pub deep: bool,
    /// Keep the rows that change nothing.
    pub all: bool,
}

/// A plan as the state keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub version: u32,
    pub digest: String,
    pub lineage: String,
    pub project: String,
    pub created_at: String,
    /// Who made it; the policies may say that this is not who approves it.
    #[serde(default)]
    pub author: String,
    pub destroy: bool,
    pub policies: Option<String>,
    pub accounts: IndexMap<String, AccountConfig>,
    pub outputs: Map,
    pub rows: Vec<PlannedRow>,
    /// Resources in the state once all rows are applied.
    pub resources_after: usize,
}

/// A row with what carrying it out needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedRow {
    pub row: PlanRow,
    pub account: String,
    pub region: Option<String>,
    /// The default cloud name.
    pub name: String,
    /// Desired fields, references unresolved, sensitive literals sealed.
    pub inputs: Map,
    /// Current fields, for what is changed item by item.
    pub prior_fields: Map,
    pub prior_status: Option<String>,
    /// The state that an interrupted update was to bring it back to.
    #[serde(default)]
    pub restore: Option<String>,
    pub remote_id: Option<String>,
    /// Digest of the state's row; `None` where there was none.
    pub prior: Option<String>,
    pub changed: Vec<String>,
    pub lifecycle: Lifecycle,
    /// What the resource needs, in the plan or not.
    pub needs: Vec<Address>,
    pub disruption: Disruption,
    pub once_wanted: Vec<String>,
}

impl Plan {
    /// The rows people see.
    pub fn rows(&self) -> impl Iterator<Item = &PlanRow> {
        self.rows.iter().map(|planned| &planned.row)
    }

    /// A row by address.
    pub fn find(&self, address: &str) -> Option<&PlannedRow> {
        self.rows.iter().find(|planned| planned.row.address.as_str() == address)
    }
}

impl Session {
    /// Plans, keeps the plan in the state, and gives it. Errors come all at once, before any call to a cloud.
    pub fn plan(&self, input: &Input, options: &PlanOptions) -> Result<Plan, Failure> {
        let (located, mut diagnostics) = self.read(input)?;
        // Where Nickel could not evaluate a field, its absence is no second mistake.
        let holes = !diagnostics.is_empty();
        let problems = validate::validate(self, &located.config);
        let told = problems.into_iter().filter(|problem| !holes || problem.code != "provision::plan::missing_field");
        diagnostics.extend(told.map(|problem| located.diagnostic(problem)));
        Failure::check(diagnostics)?;
        let state = self.store.resources()?;
        let world = match options.no_refresh {
            true => World::default(),
            false => self.refresh(&located.config, &state, options.deep)?,
        };
        let planner = Planner::new(self, &located, &state, &world, options.destroy)?;
        let plan = planner.plan(options)?;
        let body = serde_json::to_value(&plan)
            .map_err(|error| Failure::new("provision::state::io", format!("cannot store the plan: {error}")))?;
        self.store.put_plan(&plan.digest, &body)?;
        Ok(plan)
    }
}

/// Digest of a row of the state: the ground a plan row stands on.
pub fn ground(resource: &Resource) -> String {
    let mut value = serde_json::to_value(resource).unwrap_or(Json::Null);
    if let Json::Object(map) = &mut value {
        map.shift_remove("updated_at");
    }
    digest(&value)
}

struct Planner<'a> {
    session: &'a Session,
    located: &'a Located,
    state: &'a [Resource],
    by_address: HashMap<&'a str, &'a Resource>,
    world: &'a World,
    destroy: bool,
    once_wanted: HashMap<Address, Vec<String>>,
    /// Desired fields as far as they are known, for the questions; never stored.
    desired: std::cell::RefCell<HashMap<Address, Map>>,
}

/// What a pass over the graph knows of a resource's attributes.
enum Known {
    /// As they are.
    Now(Map),
    /// Only after apply.
    Later,
}

impl<'a> Planner<'a> {
    fn new(
        session: &'a Session,
        located: &'a Located,
        state: &'a [Resource],
        world: &'a World,
        destroy: bool,
    ) -> Result<Self, Failure> {
        let mut once_wanted: HashMap<Address, Vec<String>> = HashMap::new();
        let config = &located.config;
        let kinds: HashMap<&str, &str> =
            config.resources.iter().map(|it| (it.address.as_str(), it.kind.as_str())).collect();
        let all = config.resources.iter().flat_map(|it| it.fields.values()).chain(config.outputs.values());
        for reference in all.flat_map(references) {
            let once = kinds
                .get(reference.address.as_str())
                .and_then(|kind| session.registry.type_of(kind).ok())
                .and_then(|(_, spec)| spec.attributes.get(&reference.attribute))
                .is_some_and(|attribute| attribute.returned_once);
            if once {
                once_wanted.entry(reference.address).or_default().push(reference.attribute);
            }
        }
        let by_address = state.iter().map(|resource| (resource.address.as_str(), resource)).collect();
        Ok(Self { session, located, state, by_address, world, destroy, once_wanted, desired: Default::default() })
    }

    fn plan(&self, options: &PlanOptions) -> Result<Plan, Failure> {
        let config = &self.located.config;
        let mut rows: Vec<PlannedRow> = Vec::new();
        let mut problems: Vec<Problem> = Vec::new();
        if !self.destroy {
            self.plan_declared(&mut rows, &mut problems)?;
        }
        self.plan_removed(&mut rows, &mut problems)?;
        Failure::check(problems.into_iter().map(|problem| self.located.diagnostic(problem)).collect())?;
        link(&mut rows, &self.by_address);
        let rows = select(rows, options)?;
        let rows: Vec<PlannedRow> =
            rows.into_iter().filter(|planned| options.all || planned.row.action != Action::NoOp).collect();
        let removed = rows.iter().filter(|it| matches!(it.row.action, Action::Delete | Action::Forget)).count();
        let added = rows.iter().filter(|it| it.row.action == Action::Create && it.prior.is_none()).count();
        let mut plan = Plan {
            version: PLAN_VERSION,
            digest: String::new(),
            lineage: self.session.store.lineage().to_owned(),
            project: config.name.clone(),
            created_at: provision_state::now(),
            author: self.session.user.clone(),
            destroy: self.destroy,
            policies: config.policies.clone(),
            accounts: self.session.sealed_accounts(config)?,
            outputs: if self.destroy { Map::new() } else { self.session.sealed_outputs(&config.outputs)? },
            rows,
            resources_after: (self.state.len() + added).saturating_sub(removed),
        };
        let questions = Questions::new(self.session, &plan)?;
        let desired = self.desired.borrow();
        let requests: Vec<_> = plan
            .rows
            .iter()
            .map(|planned| {
                let fields = desired.get(&planned.row.address).unwrap_or(&planned.inputs);
                questions.of(planned, fields, planned.row.action)
            })
            .collect();
        for (planned, request) in plan.rows.iter_mut().zip(requests) {
            planned.row.request = request;
        }
        plan.digest = digest(&serde_json::to_value(&plan).unwrap_or(Json::Null));
        for planned in &mut plan.rows {
            planned.row.plan.clone_from(&plan.digest);
        }
        Ok(plan)
    }

    fn plan_declared(&self, rows: &mut Vec<PlannedRow>, problems: &mut Vec<Problem>) -> Result<(), Failure> {
        let resources = &self.located.config.resources;
        let needs: Vec<Vec<Address>> = resources.iter().map(needs).collect();
        let graph = Graph::new(resources.iter().map(|it| &it.address).zip(needs.iter().map(Vec::as_slice)));
        let order = graph.order().map_err(|cycle| {
            Failure::new(
                "provision::plan::cycle",
                format!("references form a cycle: {}", provision_model::cycle_of(&cycle)),
            )
        })?;
        let mut known: HashMap<Address, Known> = HashMap::new();
        let mut planned: Vec<(usize, PlannedRow)> = Vec::new();
        for at in order {
            let declaration = &resources[at];
            let row = self.plan_one(declaration, &needs[at], &known, problems)?;
            let remote = self.world.resources.get(&declaration.address).and_then(Option::as_ref);
            let resource = self.by_address.get(declaration.address.as_str());
            let now = match (row.row.action, resource) {
                (Action::NoOp | Action::Update | Action::Adopt, Some(resource)) => {
                    let mut attributes = resource.inputs.clone();
                    attributes.extend(resource.attributes.clone());
                    if let Some(remote) = remote {
                        attributes.extend(remote.fields.clone());
                        attributes.extend(remote.attributes.clone());
                    }
                    if row.row.action == Action::Update && self.derives_outputs(declaration) {
                        attributes.shift_remove("output");
                    }
                    Known::Now(attributes)
                }
                _ => Known::Later,
            };
            known.insert(declaration.address.clone(), now);
            planned.push((at, row));
        }
        // Rows come in the order of the file.
        planned.sort_by_key(|(at, _)| *at);
        rows.extend(planned.into_iter().map(|(_, row)| row));
        Ok(())
    }

    /// Whether an update changes what is read from the resource (`local.data` gives back its input).
    fn derives_outputs(&self, declaration: &Declaration) -> bool {
        declaration.kind == "local.data"
    }

    fn plan_one(
        &self,
        declaration: &Declaration,
        needs: &[Address],
        known: &HashMap<Address, Known>,
        problems: &mut Vec<Problem>,
    ) -> Result<PlannedRow, Failure> {
        let (manifest, spec) = self.session.registry.type_of(&declaration.kind)?;
        let config = &self.located.config;
        let account =
            self.session.account(&declaration.account, &declaration.kind, config.accounts.get(&declaration.account))?;
        let inputs = with_defaults(declaration, manifest, spec, &config.name, account.region.as_deref());
        let attribute = |address: &Address, name: &str| -> Result<Option<(Json, bool)>, Failure> {
            match known.get(address) {
                Some(Known::Now(attributes)) => attribute_of(attributes, &Map::new(), name)
                    .map(|value| self.session.store.sealer().reveal(&value))
                    .transpose(),
                _ => Ok(None),
            }
        };
        let env = |name: &str| self.session.env_json(name);
        let mut desired = Map::new();
        let mut secrets: HashSet<String> = HashSet::new();
        for (field, value) in &inputs {
            let resolved = resolve(value, &attribute, &env)?;
            if resolved.sensitive {
                secrets.insert(field.clone());
            }
            desired.insert(field.clone(), resolved.value);
        }
        let region = region_of(manifest, &desired);
        let resource = self.by_address.get(declaration.address.as_str()).copied();
        let mut verdict = self.verdict(declaration, spec, &desired, resource);
        for change in &mut verdict.changes {
            let field = change.path.split('.').next().unwrap_or_default();
            if secrets.contains(field) {
                *change = masked(change);
            }
        }
        if let Some(resource) = resource
            && (resource.protect || declaration.lifecycle.protect)
            && verdict.action == Action::Replace
        {
            problems.push(
                Problem::value(
                    "provision::plan::protected",
                    format!("`{}` is protected and would be replaced: {}", declaration.address, verdict.reason),
                    &declaration.path,
                )
                .help(format!("Undo the change, or run `provision state unprotect {}` first.", declaration.address)),
            );
        }
        if verdict.action == Action::Create {
            verdict.changes = creation(spec, &secrets, &desired);
        }
        self.desired.borrow_mut().insert(
            declaration.address.clone(),
            desired.into_iter().filter(|(field, _)| !secrets.contains(field)).collect(),
        );
        let remote = self.world.resources.get(&declaration.address).and_then(Option::as_ref);
        let sealed = self.seal(spec, &inputs)?;
        let restore = resource.and_then(|resource| resource.restore.clone());
        let prior_fields = resource.map(|resource| current_fields(resource, remote)).unwrap_or_default();
        Ok(PlannedRow {
            row: PlanRow {
                address: declaration.address.clone(),
                provider: manifest.name.clone(),
                kind: declaration.kind.clone(),
                action: verdict.action,
                changes: verdict.changes,
                depends_on: needs.to_vec(),
                reason: verdict.reason,
                request: Questions::empty(),
                plan: String::new(),
            },
            account: declaration.account.clone(),
            region,
            name: declaration.address.cloud_name(&config.name),
            inputs: sealed,
            prior_status: restore.clone().or_else(|| remote.and_then(|remote| remote.status.clone())),
            restore,
            prior_fields,
            remote_id: resource.map(|resource| resource.remote_id.clone()),
            prior: resource.map(ground),
            changed: verdict.changed,
            lifecycle: declaration.lifecycle.clone(),
            needs: needs.to_vec(),
            disruption: verdict.disruption,
            once_wanted: self.once_wanted.get(&declaration.address).cloned().unwrap_or_default(),
        })
    }

    fn verdict(
        &self,
        declaration: &Declaration,
        spec: &TypeSpec,
        desired: &Map,
        resource: Option<&Resource>,
    ) -> Verdict {
        let Some(resource) = resource else { return Verdict::new(Action::Create, "new") };
        let remote = match self.world.resources.get(&declaration.address) {
            Some(None) => return Verdict::new(Action::Create, "gone from the cloud"),
            Some(Some(remote)) => Some(remote),
            None => None,
        };
        if resource.kind != declaration.kind {
            return Verdict::new(Action::Replace, "its type changed");
        }
        if resource.account != declaration.account {
            return Verdict::new(Action::Replace, "its account changed");
        }
        if resource.tainted {
            return Verdict::new(Action::Replace, "tainted: a secret it needs was lost");
        }
        let mut current = current_fields(resource, remote);
        // What was never ours to set is not drift.
        current.retain(|field, _| desired.contains_key(field) || resource.inputs.contains_key(field));
        let sealed_equal = |plain: &Json, sealed: &Json| self.session.store.sealer().is_same(plain, sealed);
        let Comparison { mut changes, disruption, fields } =
            compare(&spec.fields, desired, &current, &declaration.lifecycle.ignore, &sealed_equal);
        // Protection is only ever added by the configuration; `provision state unprotect` takes it away.
        let flags = [
            ("lifecycle.protect", resource.protect, declaration.lifecycle.protect || resource.protect),
            ("lifecycle.retain", resource.retain, declaration.lifecycle.retain),
        ];
        let mut add = |path: &str, before: Json, after: Json| {
            changes.push(Change { path: path.to_owned(), before, after, sensitive: false, forces_replacement: false });
        };
        for (path, before, after) in flags.into_iter().filter(|(_, before, after)| before != after) {
            add(path, Json::from(before), Json::from(after));
        }
        if let Some(status) = &resource.restore {
            let now = remote.and_then(|remote| remote.status.as_deref());
            add("status", now.map_or(Json::Null, Json::from), Json::from(status.as_str()));
        }
        if changes.is_empty() {
            return Verdict::new(Action::NoOp, "as it should be");
        }
        let names: Vec<&str> = match fields.is_empty() {
            true if resource.restore.is_some() => vec!["status"],
            true => vec!["lifecycle"],
            false => fields.iter().map(String::as_str).collect(),
        };
        let (action, reason) = match disruption {
            Disruption::Replace => {
                let forcing: Vec<&str> =
                    changes.iter().filter(|it| it.forces_replacement).map(|it| it.path.as_str()).collect();
                (Action::Replace, format!("{} cannot be changed in place", forcing.join(", ")))
            }
            Disruption::Restart => (Action::Update, format!("{} changed; needs a restart", names.join(", "))),
            Disruption::Update => (Action::Update, format!("{} changed", names.join(", "))),
        };
        Verdict { changes, disruption, changed: fields, ..Verdict::new(action, &reason) }
    }

    /// Sensitive literals are sealed before a plan is stored; references to the environment stay references.
    fn seal(&self, spec: &TypeSpec, inputs: &Map) -> Result<Map, Failure> {
        let mut out = Map::new();
        for (name, value) in inputs {
            let sensitive = spec.fields.get(name).is_some_and(|field| field.sensitive);
            // The whole expression is sealed: a literal may stand anywhere in it. A bare variable holds nothing.
            let bare = value.get("$env").is_some();
            let value = if (sensitive || has_secret(value)) && !bare {
                self.session.store.sealer().seal(value)?
            } else {
                value.clone()
            };
            out.insert(name.clone(), value);
        }
        Ok(out)
    }

    fn plan_removed(&self, rows: &mut Vec<PlannedRow>, problems: &mut Vec<Problem>) -> Result<(), Failure> {
        let declared: HashSet<&str> = match self.destroy {
            true => HashSet::new(),
            false => self.located.config.resources.iter().map(|it| it.address.as_str()).collect(),
        };
        for resource in self.state.iter().filter(|it| !declared.contains(it.address.as_str())) {
            let gone = matches!(self.world.resources.get(&resource.address), Some(None));
            let (action, reason) = match (resource.retain, gone, self.destroy) {
                (_, true, _) => (Action::Forget, "gone from the cloud"),
                (true, ..) => (Action::Forget, "retained: left in the cloud"),
                (_, _, true) => (Action::Delete, "destroy"),
                _ => (Action::Delete, "no longer in the configuration"),
            };
            if resource.protect && action == Action::Delete {
                problems.push(
                    Problem::value(
                        "provision::plan::protected",
                        format!("`{}` is protected and would be deleted", resource.address),
                        &[],
                    )
                    .help(format!("Run `provision state unprotect {}` first.", resource.address)),
                );
            }
            let (manifest, spec) = self.session.registry.type_of(&resource.kind)?;
            let remote = self.world.resources.get(&resource.address).and_then(Option::as_ref);
            rows.push(PlannedRow {
                row: PlanRow {
                    address: resource.address.clone(),
                    provider: manifest.name.clone(),
                    kind: resource.kind.clone(),
                    action,
                    changes: removal(spec, resource),
                    depends_on: Vec::new(),
                    reason: reason.to_owned(),
                    request: Questions::empty(),
                    plan: String::new(),
                },
                account: resource.account.clone(),
                region: region_of(manifest, &resource.inputs),
                name: resource.address.cloud_name(&self.located.config.name),
                inputs: resource.inputs.clone(),
                prior_fields: current_fields(resource, remote),
                prior_status: remote.and_then(|remote| remote.status.clone()),
                restore: None,
                remote_id: Some(resource.remote_id.clone()),
                prior: Some(ground(resource)),
                changed: Vec::new(),
                lifecycle: Lifecycle::default(),
                needs: resource.depends_on.clone(),
                disruption: Disruption::Replace,
                once_wanted: Vec::new(),
            });
        }
        Ok(())
    }
}

struct Verdict {
    action: Action,
    reason: String,
    changes: Vec<Change>,
    changed: Vec<String>,
    disruption: Disruption,
}

impl Verdict {
    fn new(action: Action, reason: &str) -> Self {
        Self {
            action,
            reason: reason.to_owned(),
            changes: Vec::new(),
            changed: Vec::new(),
            disruption: Disruption::Update,
        }
    }
}

/// A removal waits for the rows of what still needs the thing: they let go of it first.
fn link(rows: &mut [PlannedRow], state: &HashMap<&str, &Resource>) {
    let mut waits: HashMap<Address, Vec<Address>> = HashMap::new();
    for planned in rows.iter().filter(|planned| planned.row.action != Action::NoOp) {
        // What it needed before: the state's dependencies, kept as `needs` of a removal and in the state for the others.
        let before = state.get(planned.row.address.as_str()).map(|resource| resource.depends_on.as_slice());
        let needed: HashSet<&Address> = planned.needs.iter().chain(before.unwrap_or_default()).collect();
        for needed in needed {
            waits.entry(needed.clone()).or_default().push(planned.row.address.clone());
        }
    }
    for planned in rows.iter_mut() {
        if matches!(planned.row.action, Action::Delete | Action::Forget) {
            planned.row.depends_on = waits.remove(&planned.row.address).unwrap_or_default();
        }
    }
}

fn select(rows: Vec<PlannedRow>, options: &PlanOptions) -> Result<Vec<PlannedRow>, Failure> {
    let names: Vec<String> = rows.iter().map(|planned| planned.row.address.to_string()).collect();
    for wanted in options.target.iter().chain(&options.exclude) {
        if !names.contains(wanted) {
            let near = provision_diagnostic::nearest(wanted, names.iter().map(String::as_str));
            return Err(Failure::new("provision::plan::target", format!("there is no resource `{wanted}` to plan"))
                .with_help(near.map_or_else(
                    || "See `provision plan --all` for the addresses.".to_owned(),
                    |near| format!("Did you mean `{near}`?"),
                )));
        }
    }
    let mut keep: HashSet<String> = names.iter().cloned().collect();
    if !options.target.is_empty() {
        keep = options.target.iter().cloned().collect();
        spread(&rows, &mut keep, true);
    }
    if !options.exclude.is_empty() {
        let mut out: HashSet<String> = options.exclude.iter().cloned().collect();
        spread(&rows, &mut out, false);
        keep.retain(|address| !out.contains(address));
    }
    Ok(rows.into_iter().filter(|planned| keep.contains(planned.row.address.as_str())).collect())
}

/// Closes a set over what its rows wait for (`towards`), or over what waits for them.
fn spread(rows: &[PlannedRow], set: &mut HashSet<String>, towards: bool) {
    loop {
        let before = set.len();
        for planned in rows {
            let address = planned.row.address.as_str();
            if towards {
                if set.contains(address) {
                    set.extend(planned.row.depends_on.iter().map(ToString::to_string));
                }
            } else if planned.row.depends_on.iter().any(|needed| set.contains(needed.as_str())) {
                set.insert(address.to_owned());
            }
        }
        if set.len() == before {
            return;
        }
    }
}
