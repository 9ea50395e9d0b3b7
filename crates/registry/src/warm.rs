//! Owns keeping a registry between commands: loaded again only when a manifest file changed.

use crate::{Registry, Schemas};
use provision_diagnostic::Failure;
use provision_nickel::Evaluator;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

type Kept = (Option<PathBuf>, Option<PathBuf>, Arc<Registry>);

/// The registry last used, for one project and user folder.
#[derive(Default)]
pub struct Warm {
    kept: Mutex<Option<Kept>>,
    schemas: Schemas,
}

impl Warm {
    /// The manifests in force now.
    pub fn get(
        &self,
        project: Option<&Path>,
        user_dir: Option<&Path>,
        evaluator: &Evaluator,
    ) -> Result<Arc<Registry>, Failure> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((for_project, for_user, registry)) = &*kept
            && for_project.as_deref() == project
            && for_user.as_deref() == user_dir
            && registry.is_current(project, user_dir)
        {
            return Ok(registry.clone());
        }
        let registry = Arc::new(Registry::load_with(project, user_dir, evaluator, &self.schemas)?);
        *kept = Some((project.map(Path::to_path_buf), user_dir.map(Path::to_path_buf), registry.clone()));
        Ok(registry)
    }
}
