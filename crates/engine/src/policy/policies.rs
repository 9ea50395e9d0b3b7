//! Owns reading what a project's policies are: their folder, their texts and who belongs to which group, all in one read.

use crate::configuration::named::{POLICIES, named_policies};
use crate::policy::people::{PEOPLE, People};
use crate::workspace::Workspace;
use provision_diagnostic::{Code, Failure};
use provision_model::digest;
use provision_policy::{PolicySet, PolicySource};
use provision_state::PolicyInForce;
use serde_json::json;
use std::io::ErrorKind;
use std::path::Path;

/// Policies and people as they were read at one time, under one digest. Every question of a run is asked of one of these.
pub(crate) struct Rules {
    pub policies: PolicyInForce,
    pub people: People,
    /// The policies compiled; `None` where the project has none.
    pub set: Option<PolicySet>,
    /// What positions in the policies start with.
    pub shown: String,
}

impl Rules {
    /// What the sources say; they have the file of people among them.
    pub fn of(policies: PolicyInForce, shown: &str) -> Result<Rules, Failure> {
        let people = match policies.sources.iter().find(|(name, _)| name == PEOPLE) {
            Some((name, text)) => People::read(text, &format!("{shown}{name}"))?,
            None => People::default(),
        };
        let sources = policies.sources.iter().filter(|(name, _)| name != PEOPLE);
        let sources: Vec<PolicySource> =
            sources.map(|(name, text)| PolicySource { name: name.clone(), text: text.clone() }).collect();
        // Files without a policy in force permit nothing: only a project without policy files has no gate.
        let set = match policies.sources.is_empty() {
            true => None,
            false => Some(PolicySet::parse_folder(&sources, shown)?),
        };
        Ok(Rules { policies, people, set, shown: shown.to_owned() })
    }
}

/// The rules of the project. `configured` is the name for their folder where no file of the project can say it.
pub(crate) fn project_rules(on: &Workspace, configured: Option<&str>) -> Result<Rules, Failure> {
    let named = named_policies(on)?.unwrap_or_else(|| configured.map(str::to_owned));
    rules_in(on, named.as_deref())
}

/// The rules in a folder, or in the one that a project has without saying so. Only where there is no such folder, and
/// none was named, has the project no policies; a name that leads nowhere is an error.
pub(crate) fn rules_in(on: &Workspace, named: Option<&str>) -> Result<Rules, Failure> {
    let shown = named.unwrap_or(POLICIES);
    let folder = on.project.folder.join(shown);
    if named.is_none() && matches!(folder.symlink_metadata(), Err(error) if error.kind() == ErrorKind::NotFound) {
        return Rules::of(in_force(Vec::new()), shown);
    }
    let missing = |what: &str| {
        Failure::new(Code::ApplyNoPolicies, format!("the project's policies are in `{shown}`, {what}"))
            .with_help("Correct `policies` in infra.ncl, or write the policies there; nothing is changed without them.")
    };
    match std::fs::metadata(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(missing("which does not exist")),
        Ok(data) if !data.is_dir() && !data.is_file() => {
            return Err(missing("which is neither a folder nor a file"));
        }
        _ => {}
    }
    // A set without a policy would deny everything, and that it is mended too.
    let with_policies = |rules: Rules| match rules.set.as_ref().is_some_and(PolicySet::is_empty) {
        true => Err(missing("in which there is no policy")),
        false => Ok(rules),
    };
    let sources = PolicySet::sources_at(&folder)?;
    if !folder.is_dir() {
        // One file has the name that the project gives it, wherever the project is.
        let sources = sources.into_iter().map(|source| (shown.to_owned(), source.text)).collect();
        return with_policies(Rules::of(in_force(sources), "")?);
    }
    if sources.is_empty() {
        return Err(missing("which has no `.cedar` file"));
    }
    let mut sources: Vec<(String, String)> = sources.into_iter().map(|source| (source.name, source.text)).collect();
    // Who belongs to which group decides as much as the policies do.
    sources.extend(people_text(&folder)?.map(|text| (PEOPLE.to_owned(), text)));
    with_policies(Rules::of(in_force(sources), &format!("{}/", shown.trim_end_matches('/')))?)
}

fn in_force(sources: Vec<(String, String)>) -> PolicyInForce {
    PolicyInForce { digest: digest(&json!(sources)), sources }
}

/// What the file of people says, if there is one beside the policies.
fn people_text(folder: &Path) -> Result<Option<String>, Failure> {
    let file = folder.join(PEOPLE);
    if matches!(file.symlink_metadata(), Err(error) if error.kind() == ErrorKind::NotFound) {
        return Ok(None);
    }
    std::fs::read_to_string(&file).map(Some).map_err(|error| {
        Failure::new(Code::PolicyIo, format!("{} cannot be read: {error}", file.display()))
            .with_help("It has the users and groups that policies speak of; policies are not asked without it.")
    })
}
