//! Owns beginning a project: the files that a new one consists of.

use provision_diagnostic::{Code, Failure};
use provision_model::Address;
use provision_registry::Registry;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Path in the project, and text; `PROJECT` stands for its name.
const FILES: &[(&str, &str)] = &[
    ("infra.ncl", include_str!("../../../../extensions/project/infra.ncl")),
    ("policies/main.cedar", include_str!("../../../../extensions/project/policies/main.cedar")),
    ("policies/tests.ncl", include_str!("../../../../extensions/project/policies/tests.ncl")),
    ("check.nu", include_str!("../../../../extensions/project/check.nu")),
    (".github/workflows/provision.yml", include_str!("../../../../extensions/project/.github/workflows/provision.yml")),
    (".gitignore", include_str!("../../../../extensions/project/gitignore")),
    (".envrc", include_str!("../../../../extensions/project/envrc")),
];

/// The version of Nushell that the plugins are built for.
const NUSHELL: &str = "0.115.1";

/// A project that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Begun {
    pub name: String,
    pub project: PathBuf,
    /// What was written, relative to the project. What was there before was left as it was.
    pub files: Vec<String>,
    pub next: String,
}

/// Begins a project in a folder, which is made when it is not there. A folder that has an `infra.ncl` is one already; other
/// files that are there stay as they are.
pub fn init(folder: &Path, name: &str, registry: &Registry) -> Result<Begun, Failure> {
    if !Address::valid_part(name) {
        return Err(Failure::new(Code::ConfigInvalid, format!("`{name}` is not a valid name of a project"))
            .with_help("Use lower-case letters, digits, `_` and `-`, starting with a letter: `provision init shop`."));
    }
    if folder.join("infra.ncl").exists() {
        return Err(Failure::new(Code::ConfigExists, format!("there is a project in {} already", folder.display()))
            .with_help("Run `provision plan` there, or choose another name."));
    }
    let failed = |error: std::io::Error| {
        Failure::new(Code::ConfigExists, format!("cannot write to {}: {error}", folder.display()))
            .with_help("Choose a folder that you may write to.")
    };
    let mut files = Vec::new();
    for (path, text) in FILES {
        let file = folder.join(path);
        if file.exists() {
            continue;
        }
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        let version = env!("CARGO_PKG_VERSION");
        let text = text.replace("NU_PROVISION", version).replace("PROJECT", name).replace("NUSHELL", NUSHELL);
        provision_registry::write_durably(&file, text.as_bytes()).map_err(failed)?;
        files.push((*path).to_owned());
    }
    registry.write_schemas(&folder.join(".provision/schemas")).map_err(failed)?;
    Ok(Begun {
        name: name.to_owned(),
        project: folder.to_path_buf(),
        files,
        next: "provision plan | provision apply".to_owned(),
    })
}
