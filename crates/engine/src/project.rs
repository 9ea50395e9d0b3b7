//! Owns what a project is: its folder, its environment, and what its configuration is read with.

use provision_nickel::Evaluator;
use provision_registry::Registry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file a project is found by.
pub const INFRA: &str = "infra.ncl";

/// The nearest folder from `start` upwards with an `infra.ncl` or a state.
pub fn find_project(start: &Path) -> Option<PathBuf> {
    start
        .ancestors()
        .find(|folder| folder.join(INFRA).is_file() || folder.join(".provision/state.db").is_file())
        .map(Path::to_path_buf)
}

/// A project and what its configuration is read with.
pub struct Project {
    pub folder: PathBuf,
    /// The environment of the configuration that is worked on; `None` where there are none.
    pub environment: Option<String>,
    pub registry: Arc<Registry>,
    pub evaluator: Evaluator,
    pub import_paths: Vec<PathBuf>,
    /// Positions are shown relative to this folder.
    pub shown_from: PathBuf,
}

impl Project {
    /// A project in a folder, without environments.
    pub fn new(folder: PathBuf, registry: Arc<Registry>, evaluator: Evaluator) -> Project {
        let (shown_from, import_paths) = (folder.clone(), Vec::new());
        Project { folder, environment: None, registry, evaluator, import_paths, shown_from }
    }

    /// The project of what belongs to none.
    pub fn none(registry: Arc<Registry>, evaluator: Evaluator) -> Project {
        Project::new(PathBuf::from("/nonexistent/no-project"), registry, evaluator)
    }

    /// What default cloud names begin with.
    pub(crate) fn scope(&self, project: &str) -> String {
        match &self.environment {
            Some(environment) => format!("{project}-{environment}"),
            None => project.to_owned(),
        }
    }

    /// The environment's name in policies.
    pub(crate) fn environment_name(&self) -> &str {
        self.environment.as_deref().unwrap_or("default")
    }
}
