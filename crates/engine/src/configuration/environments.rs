//! Owns where the state of an environment is kept, and which states a project has.

use crate::host::Environment;
use provision_diagnostic::{Code, Failure};
use provision_model::Address;
use provision_state::{Location, Store};
use std::path::Path;
use std::sync::Arc;

/// A state and the name of its environment.
pub(crate) type Kept = (Option<String>, Arc<Store>);

/// The states that a project has.
pub(crate) fn states(project: &Path, env: &Environment) -> Result<Vec<Kept>, Failure> {
    let mut environments: Vec<Option<String>> = vec![None];
    if let Ok(entries) = std::fs::read_dir(project.join(".provision/environments")) {
        let mut names: Vec<String> =
            entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        environments.extend(names.into_iter().map(Some));
    }
    let mut found = Vec::new();
    for environment in environments {
        let location = location(&**env, environment.as_deref())?;
        // Looking must not make a state where there is none.
        if location.url.is_none() && !location.folder(project).join("state.db").is_file() {
            continue;
        }
        found.push((environment, Store::open_at(project, &location)?));
    }
    Ok(found)
}

/// Where the state of an environment is kept: `PROVISION_STATE` names a database, `PROVISION_STATE_PASSWORD` and
/// `PROVISION_STATE_KEY` hold what must not stand in it.
pub fn location(env: &dyn Fn(&str) -> Option<String>, environment: Option<&str>) -> Result<Location, Failure> {
    if let Some(name) = environment
        && !Address::valid_part(name)
    {
        return Err(Failure::new(Code::ConfigInvalid, format!("`{name}` is not a valid name of an environment"))
            .with_help("Use lower-case letters, digits, `_` and `-`, starting with a letter."));
    }
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    Ok(Location {
        url: set("PROVISION_STATE"),
        password: set("PROVISION_STATE_PASSWORD").or_else(|| set("PGPASSWORD")),
        key: set("PROVISION_STATE_KEY"),
        environment: environment.map(str::to_owned),
    })
}
