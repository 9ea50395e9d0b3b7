//! Owns taking what exists into the state: asked of the policies, written as one change, with the Nickel that declares it.

use crate::actor::Actor;
use crate::configuration::accounts::sealed_accounts;
use crate::configuration::deferred::{Later, only_late};
use crate::configuration::desired::with_defaults;
use crate::observation::finding::{Found, free};
use crate::observation::made::made_with;
use crate::observation::parts::known_parts;
use crate::observation::shown::Shown;
use crate::observation::written::{Ids, Referring, nickel};
use crate::operations::settle::settle_all;
use crate::planning::changes::creation;
use crate::planning::planned::PlannedRow;
use crate::policy::alone::{AtOnce, may_do, noted};
use crate::policy::gate::open_gate;
use crate::workspace::{Workspace, writer};
use provision_diagnostic::Failure;
use provision_model::{
    Action, Address, Config, Declaration, Disruption, Json, Lifecycle, Map, PlanRow, Question, Remote, Resource,
    unknown,
};
use provision_registry::TypeSpec;
use provision_state::{Edit, NewChange};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::HashSet;

/// One resource that was taken into the state.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ImportedRow {
    pub address: Address,
    #[serde(rename = "type")]
    pub kind: String,
    pub remote_id: String,
    /// What declares it: to be put into `resources` of `infra.ncl`.
    pub nickel: String,
}

/// What becomes of it: the row of the state, the Nickel, and what the policies are asked.
struct Draft {
    resource: Resource,
    nickel: String,
    planned: PlannedRow,
    /// What the policies see of it.
    fields: Map,
}

/// Asks the policies about all, then writes all as one change of the history.
pub(crate) fn take_in(
    on: &Workspace,
    by: &Actor,
    config: &Config,
    state: &[Resource],
    mut found: Vec<Found<'_>>,
) -> Result<Vec<ImportedRow>, Failure> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let mut parts = known_parts(on)?;
    found.iter().for_each(|it| parts.add(&on.project.registry, &it.kind, &it.account.name, &it.remote.fields));
    found.iter_mut().for_each(|it| parts.take_out(&it.kind, &it.account.name, &mut it.remote));
    let mut ids = Ids::of(found.iter().map(|one| one.spec));
    for resource in state {
        if let Ok((_, spec)) = on.project.registry.type_of(&resource.kind) {
            ids.add(&resource.address, &resource.kind, spec, &resource.remote_id, &resource.attributes);
        }
    }
    for one in &found {
        let mut shown = one.remote.fields.clone();
        shown.extend(one.remote.attributes.clone());
        ids.add(&one.address, &one.kind, one.spec, &one.remote.id, &shown);
    }
    let drafts = found.iter().map(|one| drafted(on, config, &ids, one)).collect::<Result<Vec<_>, Failure>>()?;
    let lease = writer(on, by)?;
    let gate = open_gate(on, by, config.policies.as_deref(), Some(&lease))?;
    let asked: Vec<(&PlannedRow, &Map)> = drafts.iter().map(|draft| (&draft.planned, &draft.fields)).collect();
    let what = AtOnce { purpose: "import", verb: None, after: state.len() + drafts.len(), rows: &asked };
    let answer = may_do(on, by, &gate, config, &what);
    let subject = match drafts.as_slice() {
        [one] => Some(&one.resource.address),
        _ => None,
    };
    noted(on, &lease, "import", subject, answer)?;
    // What a crash left half made may be the very thing, or have the address.
    settle_all(on, &lease, &|_| {})?;
    let now = on.store.resources()?;
    for draft in &drafts {
        let resource = &draft.resource;
        free(&now, &resource.address, &resource.kind, &resource.remote_id)?;
    }
    on.store.pin_project(&lease, &config.name)?;
    on.store.put_accounts(&lease, &serde_json::json!(sealed_accounts(on, config)?))?;
    let change = NewChange {
        project: Some(config.name.clone()),
        policies: config.policies.clone(),
        outputs: on.store.outputs()?,
        subject: subject.cloned(),
        ..NewChange::new("import", &by.source)
    };
    let puts = drafts.iter().map(|draft| draft.resource.clone()).collect();
    on.store.edit(&lease, &change, &Edit { puts, ..Edit::default() })?;
    on.store.checkpoint()?;
    Ok(drafts
        .into_iter()
        .map(|draft| ImportedRow {
            address: draft.resource.address,
            kind: draft.resource.kind,
            remote_id: draft.resource.remote_id,
            nickel: draft.nickel,
        })
        .collect())
}

fn drafted(on: &Workspace, config: &Config, ids: &Ids, found: &Found<'_>) -> Result<Draft, Failure> {
    let Found { address, kind, manifest, spec, account, region, remote } = found;
    let scope = on.project.scope(&config.name);
    let name = address.cloud_name(&scope);
    let mut shown = Shown::of(spec, remote);
    if let (Some(rule), Some(region)) = (&manifest.region, region)
        && spec.fields.contains_key(&rule.field)
        && account.region.as_ref() != Some(region)
    {
        shown.fields.insert(rule.field.clone(), Json::from(region.as_str()));
    }
    // Without a project's name nobody knows the default names.
    shown.leave_out_names(spec, Some(name.as_str()).filter(|_| !config.name.is_empty()));
    shown.complete(manifest, spec);
    let fields = shown.fields.clone();
    let mut declared = fields.clone();
    let mut depends_on = Vec::new();
    let from = Referring { address, provider: &manifest.name, spec };
    for (field, value) in &mut declared {
        ids.refer(&from, field, value, &mut depends_on);
    }
    let declaration = Declaration {
        address: address.clone(),
        kind: kind.clone(),
        account: account.name.clone(),
        fields,
        lifecycle: Lifecycle::default(),
        depends_on: depends_on.clone(),
        deferred: Vec::new(),
        path: Vec::new(),
    };
    let at = region.as_deref().or(account.region.as_deref());
    let inputs = imported_inputs(on, with_defaults(&declaration, manifest, spec, &scope, at), spec, remote, &shown)?;
    let now = on.host.now();
    let mut resource = Resource {
        inputs: inputs.clone(),
        depends_on: depends_on.clone(),
        deferred: only_late(spec, &declared, &depends_on),
        generation: on.store.next_generation(address)?,
        made: made_with(spec, Some(remote), &inputs),
        ..Resource::new(address.clone(), kind, &account.name, &remote.id, now)
    };
    crate::observation::overlay::attributes(&mut resource, remote);
    let mut seen = inputs.clone();
    seen.extend(shown.unseen.iter().map(|field| (field.clone(), unknown())));
    let planned = PlannedRow {
        row: PlanRow {
            address: address.clone(),
            provider: manifest.name.clone(),
            kind: kind.clone(),
            action: Action::Adopt,
            changes: creation(spec, &HashSet::new(), &inputs),
            depends_on: depends_on.clone(),
            reason: "exists".to_owned(),
            request: Question::empty().into(),
            plan: String::new(),
        },
        account: account.name.clone(),
        region: region.clone(),
        name,
        inputs,
        prior_fields: Map::new(),
        prior_status: remote.status.clone(),
        restore: None,
        remote_id: Some(remote.id.clone()),
        prior: None,
        changed: Vec::new(),
        lifecycle: Lifecycle::default(),
        needs: depends_on,
        later: Later::default(),
        disruption: Disruption::Update,
        once_wanted: Vec::new(),
        old: None,
        makes_first: false,
        moved_from: None,
        generation: 0,
    };
    let account = (account.name != manifest.name).then_some(account.name.as_str());
    let nickel = nickel(address, kind, &shown.lines(account, declared));
    Ok(Draft { resource, nickel, planned, fields: seen })
}

/// The inputs as if they had been applied: as declared, but nothing that the cloud has not.
fn imported_inputs(
    on: &Workspace,
    mut inputs: Map,
    spec: &TypeSpec,
    remote: &Remote,
    shown: &Shown,
) -> Result<Map, Failure> {
    for field in shown.unseen.iter().chain(&shown.unnamed) {
        match remote.fields.get(field) {
            Some(value) => inputs.insert(field.clone(), value.clone()),
            None => inputs.shift_remove(field),
        };
    }
    for (field, value) in &mut inputs {
        if spec.fields.get(field).is_some_and(|rule| rule.sensitive) {
            *value = on.store.sealer().seal(value)?;
        }
    }
    Ok(inputs)
}
