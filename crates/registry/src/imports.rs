//! Owns where the imports of a project may lead: to its own files, to those of its providers, and to what it is allowed
//! besides.

use crate::{Lock, Registry};
use std::path::{Path, PathBuf};

impl Registry {
    /// The real folders and files in which the imports of a project's own Nickel must end.
    pub fn import_roots(&self, project: &Path) -> Vec<PathBuf> {
        let providers = self.providers.values().filter_map(|provider| provider.folder.clone());
        let all = std::iter::once(project.to_owned()).chain(providers).chain(allowed_imports(project));
        all.map(|path| real(&path)).collect()
    }
}

/// What lies elsewhere and may be imported all the same, by the consent in `provision.lock`. One that cannot be read allows
/// nothing.
pub fn allowed_imports(project: &Path) -> Vec<PathBuf> {
    Lock::read(project).map(|lock| lock.imports(project)).unwrap_or_default()
}

/// A path with its links followed, as far as it exists.
pub fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use provision_nickel::Evaluator;

    #[test]
    fn what_the_lock_consents_to_is_a_root_and_nothing_else_outside() {
        let folder = tempfile::tempdir().unwrap();
        let (project, shared) = (folder.path().join("project"), folder.path().join("shared"));
        std::fs::create_dir_all(&project).unwrap();
        std::fs::create_dir_all(&shared).unwrap();
        let registry = Registry::load(None, None, &Evaluator::default()).unwrap();
        assert_eq!(registry.import_roots(&project), [real(&project)]);
        let mut lock = Lock::default();
        lock.trust.imports.insert("../shared".to_owned());
        lock.write(&project).unwrap();
        assert_eq!(registry.import_roots(&project), [real(&project), real(&shared)]);
    }
}
