//! Owns reading what a project's policies are: their folder, their texts and who belongs to which group, all in one read.

use crate::Session;
use crate::people::{PEOPLE, People};
use crate::project::{INFRA, beside};
use provision_diagnostic::Failure;
use provision_model::{Config, Json, digest};
use provision_nickel::Request;
use provision_policy::{PolicySet, PolicySource};
use provision_state::PolicyInForce;
use serde_json::json;
use std::io::ErrorKind;
use std::path::Path;

/// The folder of policies when the configuration names none.
pub(crate) const POLICIES: &str = "policies";

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

impl Session {
    /// The rules of the project. `configured` is the name for their folder where no file of the project can say it.
    pub(crate) fn rules(&self, configured: Option<&str>) -> Result<Rules, Failure> {
        let named = self.named_policies()?.unwrap_or_else(|| configured.map(str::to_owned));
        self.rules_in(named.as_deref())
    }

    /// The rules in a folder, or in the one that a project has without saying so. Only where there is no such folder, and
    /// none was named, has the project no policies; a name that leads nowhere is an error.
    pub(crate) fn rules_in(&self, named: Option<&str>) -> Result<Rules, Failure> {
        let shown = named.unwrap_or(POLICIES);
        let folder = self.project.join(shown);
        if named.is_none() && matches!(folder.symlink_metadata(), Err(error) if error.kind() == ErrorKind::NotFound) {
            return Rules::of(in_force(Vec::new()), shown);
        }
        let missing = |what: &str| {
            Failure::new("provision::apply::no_policies", format!("the project's policies are in `{shown}`, {what}"))
                .with_help(
                    "Correct `policies` in infra.ncl, or write the policies there; nothing is changed without them.",
                )
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

    /// What the project's own file calls its policies; `None` where there is no such file, or it cannot be evaluated and
    /// this state knows the policies of an earlier change.
    fn named_policies(&self) -> Result<Option<Option<String>>, Failure> {
        let file = self.project.join(INFRA);
        if !file.is_file() {
            return Ok(None);
        }
        let environment = self.environment.as_deref().unwrap_or_default();
        let text = format!(
            "let named = fun it => std.record.get_or \"policies\" null it in
             let all = std.record.get_or \"environments\" {{}} import_of_file in
             let own = named (std.record.get_or \"{environment}\" {{}} all) in
             if own != null then own else named import_of_file"
        );
        let request = Request { positions: false, ..self.request_of(vec![beside(&file, &text)]) };
        match self.evaluator.eval(&request) {
            Ok(found) => match &found.value {
                Json::Null => Ok(Some(None)),
                Json::String(name) => Ok(Some(Some(name.clone()))),
                other => Err(Failure::new(
                    "provision::config::invalid",
                    format!("`policies` is the name of a folder, and {INFRA} says {other}"),
                )
                .with_help("Write it as text, relative to the project: `policies = \"policies\"`.")),
            },
            Err(failure) if failure.code() == "nickel::eval::limit" || self.store.policies()?.is_none() => Err(failure),
            Err(_) => Ok(None),
        }
    }

    /// Gives a configuration that is not the project's file the policies that the file names: where they are is for the
    /// project to say.
    pub(crate) fn with_own_policies(&self, config: &mut Config) -> Result<(), Failure> {
        let Some(named) = self.named_policies()? else { return Ok(()) };
        if let Some(other) = config.policies.as_ref().filter(|other| named.as_ref() != Some(*other)) {
            let own = named.as_deref().unwrap_or(POLICIES);
            let message = format!("`policies` is `{other}` here, and the project's are in `{own}`");
            return Err(Failure::new("provision::config::invalid", message)
                .with_help(format!("Leave `policies` out; only the project's {INFRA} says where its policies are.")));
        }
        config.policies = named;
        Ok(())
    }
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
        Failure::new("policy::io", format!("{} cannot be read: {error}", file.display()))
            .with_help("It has the users and groups that policies speak of; policies are not asked without it.")
    })
}
