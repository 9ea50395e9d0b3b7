//! Owns that what a project keeps is read by its owner alone: folders are made with mode 0700, files with 0600.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{Result, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Makes a folder and those it is in; one that is there already and open to others is closed to them.
pub fn folder(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    close(path, 0o700);
    Ok(())
}

/// Makes a file where there is none, without touching one that is there; one that others may read is closed to them.
pub fn touch(path: &Path) -> Result<File> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    close(path, 0o600);
    Ok(file)
}

/// Writes a file, in place of one that is there.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    close(path, 0o600);
    file.write_all(bytes)?;
    file.sync_all()
}

/// Takes from others what an earlier version, or somebody's umask, gave them. Who does not own it cannot, and need not.
pub fn close(path: &Path, mode: u32) {
    if std::fs::metadata(path).is_ok_and(|data| data.mode() & 0o077 != 0) {
        let _ = std::fs::set_permissions(path, Permissions::from_mode(mode));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_and_what_was_open_is_the_owners_alone() {
        let base = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        let (outer, inner) = (base.path().join("a"), base.path().join("a/b"));
        std::fs::create_dir(&outer).unwrap();
        std::fs::set_permissions(&outer, Permissions::from_mode(0o755)).unwrap();
        folder(&inner).unwrap();
        folder(&outer).unwrap();
        std::fs::write(inner.join("old"), "x").unwrap();
        std::fs::set_permissions(inner.join("old"), Permissions::from_mode(0o644)).unwrap();
        touch(&inner.join("old")).unwrap();
        write(&inner.join("new"), b"y").unwrap();
        assert_eq!([&outer, &inner].map(|path| mode(path)), [0o700, 0o700]);
        assert_eq!(["old", "new"].map(|name| mode(&inner.join(name))), [0o600, 0o600]);
        assert_eq!(std::fs::read(inner.join("old")).unwrap(), b"x");
    }
}
