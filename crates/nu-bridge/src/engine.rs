//! Owns what is asked of the running shell: its folder and its environment.

use nu_plugin::EngineInterface;
use nu_protocol::{ShellError, Value};
use std::path::PathBuf;

/// A path as the user means it: relative to the shell's folder, not to the plugin's own.
pub fn resolve_path(engine: &EngineInterface, path: &str) -> Result<PathBuf, ShellError> {
    Ok(PathBuf::from(engine.get_current_dir()?).join(path))
}

/// An environment variable as text; absent and empty are the same.
pub fn env_string(engine: &EngineInterface, name: &str) -> Result<Option<String>, ShellError> {
    let value = engine.get_env_var(name)?;
    Ok(value.and_then(|value| value.coerce_into_string().ok()).filter(|text| !text.is_empty()))
}

/// An environment variable that lists folders, as a Nushell list or as text joined in the system's way.
pub fn env_paths(engine: &EngineInterface, name: &str) -> Result<Vec<PathBuf>, ShellError> {
    let texts: Vec<String> = match engine.get_env_var(name)? {
        None => Vec::new(),
        Some(Value::List { vals, .. }) => vals.iter().filter_map(|value| value.coerce_string().ok()).collect(),
        Some(other) => {
            let text = other.coerce_into_string().unwrap_or_default();
            std::env::split_paths(&text).map(|path| path.to_string_lossy().into_owned()).collect()
        }
    };
    texts.iter().filter(|text| !text.is_empty()).map(|text| resolve_path(engine, text)).collect()
}

/// Where the user's own extensions are: `nu-provision` in the configuration folder.
pub fn user_dir(engine: &EngineInterface) -> Result<Option<PathBuf>, ShellError> {
    if let Some(base) = env_string(engine, "XDG_CONFIG_HOME")? {
        return Ok(Some(resolve_path(engine, &base)?.join("nu-provision")));
    }
    Ok(env_string(engine, "HOME")?.map(|home| PathBuf::from(home).join(".config/nu-provision")))
}
