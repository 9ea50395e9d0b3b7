//! Owns what the project's own file calls its policies.

use crate::configuration::reading::{beside, request_of};
use crate::project::INFRA;
use crate::workspace::Workspace;
use provision_diagnostic::{Code, Failure};
use provision_model::{Config, Json};
use provision_nickel::Request;

/// The folder of policies when the configuration names none.
pub(crate) const POLICIES: &str = "policies";

/// What the project's own file calls its policies; `None` where there is no such file, or it cannot be evaluated and
/// this state knows the policies of an earlier change.
pub(crate) fn named_policies(on: &Workspace) -> Result<Option<Option<String>>, Failure> {
    let file = on.project.folder.join(INFRA);
    if !file.is_file() {
        return Ok(None);
    }
    let environment = on.project.environment.as_deref().unwrap_or_default();
    let text = format!(
        "let named = fun it => std.record.get_or \"policies\" null it in
         let all = std.record.get_or \"environments\" {{}} import_of_file in
         let own = named (std.record.get_or \"{environment}\" {{}} all) in
         if own != null then own else named import_of_file"
    );
    let request = Request { positions: false, ..request_of(on, vec![beside(&file, &text)]) };
    match on.project.evaluator.eval(&request) {
        Ok(found) => match &found.value {
            Json::Null => Ok(Some(None)),
            Json::String(name) => Ok(Some(Some(name.clone()))),
            other => Err(Failure::new(
                Code::ConfigInvalid,
                format!("`policies` is the name of a folder, and {INFRA} says {other}"),
            )
            .with_help("Write it as text, relative to the project: `policies = \"policies\"`.")),
        },
        Err(failure) if failure.code() == Code::NickelEvalLimit || on.store.policies()?.is_none() => Err(failure),
        Err(_) => Ok(None),
    }
}

/// Gives a configuration that is not the project's file the policies that the file names: where they are is for the
/// project to say.
pub(crate) fn with_own_policies(on: &Workspace, config: &mut Config) -> Result<(), Failure> {
    let Some(named) = named_policies(on)? else { return Ok(()) };
    if let Some(other) = config.policies.as_ref().filter(|other| named.as_ref() != Some(*other)) {
        let own = named.as_deref().unwrap_or(POLICIES);
        let message = format!("`policies` is `{other}` here, and the project's are in `{own}`");
        return Err(Failure::new(Code::ConfigInvalid, message)
            .with_help(format!("Leave `policies` out; only the project's {INFRA} says where its policies are.")));
    }
    config.policies = named;
    Ok(())
}
