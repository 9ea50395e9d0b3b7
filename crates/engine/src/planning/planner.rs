//! Owns planning: configuration, state and world in, rows and their graph out.

use crate::configuration::accounts::{open_account, sealed_accounts, sealed_outputs};
use crate::configuration::deferred::{Later, Order};
use crate::configuration::desired::{attribute_of, region_of, triggers, with_defaults};
use crate::configuration::moves::moves;
use crate::configuration::reading::Located;
use crate::configuration::sources::sourceless;
use crate::observation::others::leave_out;
use crate::observation::refresh::{World, current_fields};
use crate::planning::changes::creation;
use crate::planning::conditions::{Moment, conditions_hold};
use crate::planning::known::holds_unknown;
use crate::planning::limits::limits;
use crate::planning::options::{PlanOptions, ROLLBACK};
use crate::planning::planned::{Place, Plan, PlannedRow, ground};
use crate::planning::prepared::{Fields, fitted, forget_followers};
use crate::planning::rollback::own_up;
use crate::planning::scope::concerning;
use crate::planning::selection::{link, select};
use crate::planning::strays::Strays;
use crate::workspace::Workspace;
use provision_diagnostic::{Code, Failure};
use provision_model::{
    Action, Address, Declaration, Json, Lifecycle, Map, PlanRow, Problem, Question, Remote, Resource, has_secret,
    is_sealed, references, resolve, without_secrets,
};
use provision_registry::TypeSpec;
use std::collections::{HashMap, HashSet};

/// The version of the stored shape.
const PLAN_VERSION: u32 = 1;

pub struct Planner<'a> {
    pub(crate) on: &'a Workspace,
    pub(crate) located: &'a Located,
    state: &'a [Resource],
    by_address: HashMap<&'a str, &'a Resource>,
    /// Old address by new address.
    moved: HashMap<&'a str, &'a Address>,
    pub(crate) world: &'a World,
    pub(crate) destroy: bool,
    /// What somebody asked for besides is no part of it.
    pub(crate) healing: bool,
    /// What carries our mark and is in no row.
    pub(crate) strays: Strays,
    once_wanted: HashMap<Address, Vec<String>>,
    /// Desired fields as far as they are known, for the questions; never stored.
    pub(crate) desired: std::cell::RefCell<HashMap<Address, Map>>,
}

/// What a pass over the graph knows of a resource's attributes.
enum Known {
    /// As they are.
    Now(Map),
    /// Only after apply.
    Later,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(
        on: &'a Workspace,
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
                .and_then(|kind| on.project.registry.type_of(kind).ok())
                .and_then(|(_, spec)| spec.attributes.get(&reference.attribute))
                .is_some_and(|attribute| attribute.returned_once);
            if once {
                once_wanted.entry(reference.address).or_default().push(reference.attribute);
            }
        }
        let by_address: HashMap<&str, &Resource> =
            state.iter().map(|resource| (resource.address.as_str(), resource)).collect();
        let moved = moves(config, &by_address);
        Ok(Self {
            on,
            located,
            state,
            by_address,
            moved,
            world,
            destroy,
            healing: false,
            strays: Strays::default(),
            once_wanted,
            desired: Default::default(),
        })
    }

    /// What the state has of a declaration, under its address or the one it had before.
    pub(crate) fn there(&self, address: &Address) -> Option<&'a Resource> {
        self.by_address.get(self.known_as(address)).copied()
    }

    /// The address that the state has a declaration under.
    pub(crate) fn known_as<'b>(&'b self, address: &'b Address) -> &'b str {
        self.moved.get(address.as_str()).map_or(address.as_str(), |old| old.as_str())
    }

    fn remote(&self, resource: Option<&Resource>) -> Option<&Remote> {
        self.world.resources.get(&resource?.address).and_then(Option::as_ref)
    }

    /// The plan, without its questions and its digest, and the fields of each row as far as they are known.
    pub(crate) fn plan(self, options: &PlanOptions, author: &str) -> Result<(Plan, HashMap<Address, Map>), Failure> {
        let config = &self.located.config;
        let mut rows: Vec<PlannedRow> = Vec::new();
        let mut problems: Vec<Problem> = Vec::new();
        if !self.destroy {
            self.plan_declared(&mut rows, &mut problems)?;
        }
        self.plan_removed(&mut rows, &mut problems)?;
        self.plan_strays(&mut rows)?;
        if options.purpose == Some(ROLLBACK) {
            rows.iter_mut().for_each(|planned| own_up(&mut planned.row));
        }
        link(&mut rows, &self.by_address);
        let rows = select(rows, options, &self.by_address)?;
        self.located.left_out.refuse(&rows, &self.by_address)?;
        let problems = concerning(self.located, problems, &rows);
        Failure::check(problems.into_iter().map(|problem| self.located.diagnostic(problem)).collect())?;
        let rows: Vec<PlannedRow> =
            rows.into_iter().filter(|planned| options.all || planned.row.says_something()).collect();
        let removed = rows.iter().filter(|it| matches!(it.row.action, Action::Delete | Action::Forget)).count();
        let added = rows
            .iter()
            .filter(|it| matches!(it.row.action, Action::Create | Action::Adopt) && it.prior.is_none())
            .count();
        let plan = Plan {
            version: PLAN_VERSION,
            digest: String::new(),
            lineage: self.on.store.lineage().to_owned(),
            project: config.name.clone(),
            created_at: self.on.host.now(),
            author: author.to_owned(),
            destroy: self.destroy,
            purpose: options.purpose.unwrap_or(if self.destroy { "destroy" } else { "apply" }).to_owned(),
            policies: config.policies.clone(),
            accounts: sealed_accounts(self.on, config)?,
            outputs: if self.destroy { Map::new() } else { sealed_outputs(self.on, &config.outputs)? },
            rows,
            resources_after: (self.state.len() + added).saturating_sub(removed),
        };
        Ok((plan, self.desired.into_inner()))
    }

    fn plan_declared(&self, rows: &mut Vec<PlannedRow>, problems: &mut Vec<Problem>) -> Result<(), Failure> {
        let resources = &self.located.config.resources;
        let Order { needs, later, order } = Order::of(&self.on.project.registry, resources).map_err(|cycle| {
            let told = provision_model::cycle_of(&cycle.addresses);
            let failure = Failure::new(Code::PlanCycle, format!("references form a cycle: {told}"));
            failure.with_help(cycle.help())
        })?;
        let mut known: HashMap<Address, Known> = HashMap::new();
        let mut planned: Vec<(usize, PlannedRow)> = Vec::new();
        for at in order {
            let declaration = &resources[at];
            // What refers to itself or to what comes after it is planned again once that is known.
            let mut first = Vec::new();
            let told = if later[at].is_empty() { &mut *problems } else { &mut first };
            let (row, desired) = self.plan_one(declaration, &needs[at], &known, told)?;
            let resource = self.there(&declaration.address);
            let remote = self.remote(resource);
            let now = match (row.row.action, resource) {
                (Action::Adopt, _) => Known::Now(self.lost_attributes(&declaration.address)),
                (Action::NoOp | Action::Update, Some(resource)) => {
                    let mut attributes = resource.inputs.clone();
                    attributes.extend(resource.attributes.clone());
                    if let Some(remote) = remote {
                        attributes.extend(remote.fields.clone());
                        attributes.extend(remote.attributes.clone());
                    }
                    let (_, spec) = self.on.project.registry.type_of(&declaration.kind)?;
                    forget_followers(spec, &row.changed, &mut attributes);
                    // What is about to change is already what it will be.
                    for field in &row.changed {
                        match desired.get(field).filter(|value| !holds_unknown(value)) {
                            Some(value) => attributes.insert(field.clone(), value.clone()),
                            None => attributes.shift_remove(field),
                        };
                    }
                    Known::Now(attributes)
                }
                _ => Known::Later,
            };
            known.insert(declaration.address.clone(), now);
            planned.push((at, row));
        }
        for (at, row) in planned.iter_mut().filter(|(at, _)| !later[*at].is_empty()) {
            (*row, _) = self.plan_one(&resources[*at], &needs[*at], &known, problems)?;
            row.later = later[*at].clone();
        }
        self.make_first(&mut planned, problems)?;
        // Rows come in the order of the file.
        planned.sort_by_key(|(at, _)| *at);
        rows.extend(planned.into_iter().map(|(_, row)| row));
        Ok(())
    }

    fn plan_one(
        &self,
        declaration: &Declaration,
        needs: &[Address],
        known: &HashMap<Address, Known>,
        problems: &mut Vec<Problem>,
    ) -> Result<(PlannedRow, Map), Failure> {
        let (manifest, spec) = self.on.project.registry.type_of(&declaration.kind)?;
        let config = &self.located.config;
        let account =
            open_account(self.on, &declaration.account, &declaration.kind, config.accounts.get(&declaration.account))?;
        let scope = self.on.project.scope(&config.name);
        let mut inputs = with_defaults(declaration, manifest, spec, &scope, account.region.as_deref());
        let attribute = |address: &Address, name: &str| -> Result<Option<(Json, bool)>, Failure> {
            match known.get(address) {
                Some(Known::Now(attributes)) => attribute_of(attributes, &Map::new(), name)
                    .map(|value| self.on.store.sealer().reveal(&value))
                    .transpose(),
                _ => Ok(None),
            }
        };
        let mut desired = Map::new();
        // What policies and conditions may see of it.
        let mut shown = Map::new();
        let mut secrets: HashSet<String> = HashSet::new();
        let mut desired_unknown = false;
        // A source that gives nothing, or not what its field takes, is told with its place, and with whatever else is wrong.
        let mut told = |field: &String, failure: Failure| {
            let mut path = declaration.path.clone();
            path.push(field.as_str().into());
            problems.push(sourceless(failure, &path));
        };
        for (field, value) in &inputs {
            let resolved = match resolve(value, &attribute, self.on) {
                Ok(resolved) => resolved,
                Err(failure) if failure.code().area() == "provision::secret" => {
                    told(field, failure);
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            desired_unknown |= resolved.unknown;
            let given = match resolved.sensitive && !resolved.unknown {
                true => match fitted(spec, &declaration.address, field, resolved.value) {
                    Ok(given) => given,
                    Err(failure) => {
                        told(field, failure);
                        continue;
                    }
                },
                false => resolved.value,
            };
            let whole = spec.normalised(field, given);
            let open = match resolved.sensitive {
                true => spec.normalised(field, without_secrets(value, &attribute, self.on)?),
                false => whole.clone(),
            };
            if resolved.sensitive {
                secrets.insert(field.clone());
            }
            shown.insert(field.clone(), open);
            desired.insert(field.clone(), whole);
        }
        Fields { inputs: &mut inputs, desired: &mut desired, shown: &mut shown, secrets: &mut secrets }.prepare(
            &account,
            declaration,
            problems,
        );
        let region = region_of(manifest, &desired);
        let resource = self.there(&declaration.address);
        let mut verdict = self.verdict(declaration, spec, &desired, resource);
        if let Some(resource) = resource {
            let found = triggers(&declaration.lifecycle.replace_when, &attribute, self.on)?;
            verdict.trigger(found, resource);
            self.due(&mut verdict, &account, &declaration.kind, &desired, resource);
        }
        let own = resource.filter(|_| !verdict.changes.is_empty()).map(|it| self.on.store.secrets_of(it));
        let own = own.transpose()?.unwrap_or_default();
        for change in &mut verdict.changes {
            let field = change.path.split('.').next().unwrap_or_default();
            // What was a secret is not shown because it is none any more.
            let was = |resource: &Resource| resource.inputs.get(field).is_some_and(is_sealed);
            // A cloud may repeat a secret in another field.
            if secrets.contains(field) || resource.is_some_and(was) || own.is_in_json(&change.before) {
                *change = change.masked();
            }
        }
        if let Some(resource) = resource
            && (resource.protect || declaration.lifecycle.protect)
            && verdict.action == Action::Replace
        {
            problems.push(
                Problem::value(
                    Code::PlanProtected,
                    format!("`{}` is protected and would be replaced: {}", declaration.address, verdict.reason),
                    &declaration.path,
                )
                .help(format!("Undo the change, or run `provision state unprotect {}` first.", declaration.address)),
            );
        }
        problems.extend(verdict.shrinking(declaration, spec));
        // What stays as it has grown is not sent.
        verdict.grown.iter().for_each(|field| drop(inputs.shift_remove(field)));
        problems.extend(limits(declaration, spec, &verdict, &desired, self.remote(resource)));
        if verdict.action == Action::Create {
            verdict.changes = creation(spec, &secrets, &desired);
        }
        self.desired.borrow_mut().insert(declaration.address.clone(), shown);
        let remote = self.remote(resource);
        let prior = |it| self.prior_fields(it, remote, &secrets);
        let mut prior_fields = resource.map(prior).transpose()?.unwrap_or_default();
        let applied = resource.map(|it| it.inputs.clone()).unwrap_or_default();
        leave_out(spec, &mut prior_fields, &desired, &applied);
        let (hidden, plain): (Map, Map) = desired.into_iter().partition(|(field, _)| secrets.contains(field));
        let sealed = self.seal(spec, &inputs)?;
        let restore = resource.and_then(|resource| resource.restore.clone());
        let known = !desired_unknown;
        let mut planned = PlannedRow {
            row: PlanRow {
                address: declaration.address.clone(),
                provider: manifest.name.clone(),
                kind: declaration.kind.clone(),
                action: verdict.action,
                changes: verdict.changes,
                depends_on: needs.to_vec(),
                reason: verdict.reason,
                request: Question::empty().into(),
                plan: String::new(),
            },
            account: declaration.account.clone(),
            region,
            old: resource.filter(|_| verdict.action == Action::Replace).map(|it| self.place_of(it)).transpose()?,
            makes_first: false,
            name: declaration.address.cloud_name(&scope),
            inputs: sealed,
            prior_status: restore.clone().or_else(|| remote.and_then(|remote| spec.word(remote).cloned())),
            restore,
            prior_fields,
            remote_id: resource.map(|resource| resource.remote_id.clone()),
            prior: resource.map(ground),
            changed: verdict.changed,
            lifecycle: self.sealed_lifecycle(&declaration.lifecycle)?,
            needs: needs.to_vec(),
            later: Later::default(),
            disruption: verdict.disruption,
            once_wanted: self.once_wanted.get(&declaration.address).cloned().unwrap_or_default(),
            moved_from: self.moved.get(declaration.address.as_str()).map(|old| (*old).clone()),
            generation: resource.map_or(0, |resource| resource.generation),
        };
        self.adopt_row(&mut planned, spec)?;
        // What hangs on values that come later is asked when they are there.
        let changes = matches!(planned.row.action, Action::Create | Action::Update | Action::Replace);
        if known
            && changes
            && let Err(failure) = conditions_hold(self.on, &planned, spec, Moment::Before, &plain, &Map::new())
        {
            let mut path = declaration.path.clone();
            path.extend(["lifecycle".into(), "precondition".into()]);
            let help = failure.first.help.clone().unwrap_or_default();
            problems.push(Problem::value(Code::PlanPrecondition, failure.first.message, &path).help(help));
        }
        let mut desired = plain;
        // Nobody looks at more than what changes.
        for (field, value) in hidden.iter().filter(|(field, _)| planned.changed.contains(field)) {
            desired.insert(field.clone(), self.on.store.sealer().seal(value)?);
        }
        Ok((planned, desired))
    }

    /// Where a resource is declared, or would be.
    fn place(&self, address: &Address) -> Vec<provision_model::Step> {
        let declared = self.located.config.resources.iter().find(|it| it.address == *address);
        declared.map_or_else(|| vec!["resources".into(), address.as_str().into()], |it| it.path.clone())
    }

    /// What a resource is now, as a plan keeps it: a cloud may show what is secret here.
    fn prior_fields(
        &self,
        resource: &Resource,
        remote: Option<&Remote>,
        secrets: &HashSet<String>,
    ) -> Result<Map, Failure> {
        let mut fields = current_fields(resource, remote);
        let own = self.on.store.secrets_of(resource)?;
        for (name, value) in &mut fields {
            let sealed = |map: &Map| map.get(name).is_some_and(is_sealed);
            let secret = secrets.contains(name) || sealed(&resource.inputs);
            if !is_sealed(value) && (secret || own.is_in_json(value)) {
                *value = self.on.store.sealer().seal(value)?;
            }
        }
        Ok(fields)
    }

    fn place_of(&self, resource: &Resource) -> Result<Place, Failure> {
        Ok(Place::of(self.on.project.registry.type_of(&resource.kind)?.0, resource))
    }

    /// A value of `replace_when` may be written out, and secret.
    fn sealed_lifecycle(&self, lifecycle: &Lifecycle) -> Result<Lifecycle, Failure> {
        let seal = |value: &Json| match has_secret(value) {
            true => self.on.store.sealer().seal(value),
            false => Ok(value.clone()),
        };
        let replace_when = lifecycle.replace_when.iter().map(seal).collect::<Result<_, _>>()?;
        Ok(Lifecycle { replace_when, ..lifecycle.clone() })
    }

    /// Sensitive literals are sealed before a plan is stored; references to the environment stay references.
    fn seal(&self, spec: &TypeSpec, inputs: &Map) -> Result<Map, Failure> {
        let mut out = Map::new();
        for (name, value) in inputs {
            let sensitive = spec.fields.get(name).is_some_and(|field| field.sensitive);
            // The whole expression is sealed: a literal may stand anywhere in it. A bare variable holds nothing.
            let bare = value.get("$env").is_some();
            let value = if (sensitive || has_secret(value)) && !bare {
                self.on.store.sealer().seal(value)?
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
            false => {
                let renamed = self.moved.values().map(|old| old.as_str());
                self.located.config.resources.iter().map(|it| it.address.as_str()).chain(renamed).collect()
            }
        };
        let there = |it: &&Resource| !declared.contains(it.address.as_str()) && !self.located.left_out.has(&it.address);
        for resource in self.state.iter().filter(there) {
            let gone = matches!(self.world.resources.get(&resource.address), Some(None));
            let (action, reason) = match (resource.retain, gone, self.destroy) {
                (_, true, _) => (Action::Forget, "gone from the cloud"),
                (true, ..) => (Action::Forget, "retained: left in the cloud"),
                (_, _, true) => (Action::Delete, "destroy"),
                _ if resource.address.is_replaced() => (Action::Delete, "the old one of a replacement"),
                _ => (Action::Delete, "no longer in the configuration"),
            };
            if resource.protect && action == Action::Delete {
                problems.push(
                    Problem::value(
                        Code::PlanProtected,
                        format!("`{}` is protected and would be deleted", resource.address),
                        &self.place(&resource.address),
                    )
                    .help(format!("Run `provision state unprotect {}` first.", resource.address)),
                );
            }
            let (manifest, spec) = self.on.project.registry.type_of(&resource.kind)?;
            let remote = self.world.resources.get(&resource.address).and_then(Option::as_ref);
            rows.push(PlannedRow {
                name: resource.address.cloud_name(&self.on.project.scope(&self.located.config.name)),
                prior_fields: self.prior_fields(resource, remote, &HashSet::new())?,
                prior_status: remote.and_then(|remote| remote.status.clone()),
                ..PlannedRow::removal(manifest, spec, resource, action, reason)
            });
        }
        Ok(())
    }
}
