//! Owns where the imports of a project may lead: to its own files, to those of its providers, and to what it is allowed
//! besides.

use crate::Registry;
use std::path::{Path, PathBuf};

impl Registry {
    /// The real folders and files in which the imports of a project's own Nickel must end.
    pub fn import_roots(&self, project: &Path) -> Vec<PathBuf> {
        let providers = self.providers.values().filter_map(|provider| provider.folder.clone());
        let all = std::iter::once(project.to_owned()).chain(providers).chain(allowed_imports(project));
        all.map(|path| real(&path)).collect()
    }
}

/// What lies elsewhere and may be imported all the same. `provision.lock` has no word for it yet, so nothing may.
pub fn allowed_imports(_project: &Path) -> Vec<PathBuf> {
    Vec::new()
}

/// A path with its links followed, as far as it exists.
pub fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
