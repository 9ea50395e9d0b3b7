//! Owns how files are written: whole or not at all, durable, and for their owner alone.

use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Result, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use tempfile::NamedTempFile;

/// How the names of files begin that are not in their place yet.
pub(crate) const UNFINISHED: &str = ".new-";

/// Who may read what is nobody else's affair.
pub(crate) const PRIVATE: u32 = 0o600;

/// How often a folder that goes away while it is opened is made again.
const ATTEMPTS: usize = 100;

/// Makes a folder and those it is in, for their owner alone; one that is there already and open to others is closed to them.
pub(crate) fn folder(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    close(path, 0o700);
    Ok(())
}

/// Makes an empty file for its owner alone. One that is there is not opened: of a database, closing it again would let go of
/// the locks that this process has on it.
pub(crate) fn touch(path: &Path) -> Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => close(path, PRIVATE),
        made => drop(made?),
    }
    Ok(())
}

/// Takes from others what an earlier version, or somebody's umask, gave them. Who does not own it cannot, and need not.
pub(crate) fn close(path: &Path, mode: u32) {
    if std::fs::metadata(path).is_ok_and(|data| data.mode() & 0o077 != 0) {
        let _ = std::fs::set_permissions(path, Permissions::from_mode(mode));
    }
}

/// Writes a file that only its owner may read, so that a reader, and whoever comes after a crash, sees all of it or what
/// was there before.
pub fn write_whole(file: &Path, text: &str) -> Result<()> {
    place(file, text.as_bytes(), PRIVATE, false).map(drop)
}

/// The same for a file that is not there yet; false where somebody else was first.
pub(crate) fn write_new(file: &Path, text: &str) -> Result<bool> {
    place(file, text.as_bytes(), PRIVATE, true)
}

/// Writes a file whole or not at all: beside its place, to the disk, and then into its place. What is to be `fresh` does not
/// take the place of another; false says that there is one.
pub(crate) fn place(file: &Path, bytes: &[u8], mode: u32, fresh: bool) -> Result<bool> {
    let mut beside = beside(file, mode)?;
    beside.write_all(bytes)?;
    put(beside, file, fresh)
}

/// Puts a finished file in its place.
pub(crate) fn put(finished: NamedTempFile, file: &Path, fresh: bool) -> Result<bool> {
    finished.as_file().sync_all()?;
    let placed = if fresh { finished.persist_noclobber(file) } else { finished.persist(file) };
    match placed {
        Ok(_) => sync(folder_of(file)).map(|()| true),
        Err(error) if fresh && error.error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error),
    }
}

/// An empty file beside a place, gone when it is dropped.
pub(crate) fn beside(file: &Path, mode: u32) -> Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED).permissions(Permissions::from_mode(mode)).tempfile_in(folder_of(file))
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes what was put into a folder, renamed or taken away there durable, where its file system can.
pub(crate) fn sync(folder: &Path) -> Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}

/// Somebody who works in a folder; while there is anybody, nobody takes it away. Over when it is dropped.
pub(crate) struct Presence(File);

impl Presence {
    /// Makes a folder, for its owner alone, and is in it. `None` where the file system has no locks.
    pub fn enter(folder: &Path) -> Result<Option<Presence>> {
        for _ in 0..ATTEMPTS {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let opened = match File::open(folder) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened?,
            };
            if flock(&opened, FlockOperation::LockShared).is_err() {
                return Ok(None);
            }
            // Whoever took it away in this instant took another one away than the next that is made.
            let own = opened.metadata()?;
            if std::fs::metadata(folder).is_ok_and(|now| (now.dev(), now.ino()) == (own.dev(), own.ino())) {
                return Ok(Some(Presence(opened)));
            }
        }
        Err(ErrorKind::NotFound.into())
    }

    /// Whether nobody else is there; then nobody comes in until it is dropped. Who is not alone is not there any more either.
    pub fn is_alone(&self) -> bool {
        flock(&self.0, FlockOperation::NonBlockingLockExclusive).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_private_and_never_written_over_by_who_comes_second() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("head");
        write_whole(&file, "one").unwrap();
        write_whole(&file, "two").unwrap();
        assert!(!write_new(&file, "three").unwrap());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "two");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_made_and_what_was_open_is_the_owners_alone() {
        let base = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        let (outer, inner) = (base.path().join("a"), base.path().join("a/b"));
        std::fs::create_dir(&outer).unwrap();
        std::fs::set_permissions(&outer, Permissions::from_mode(0o755)).unwrap();
        super::folder(&inner).unwrap();
        super::folder(&outer).unwrap();
        std::fs::write(inner.join("old"), "x").unwrap();
        std::fs::set_permissions(inner.join("old"), Permissions::from_mode(0o644)).unwrap();
        touch(&inner.join("old")).unwrap();
        touch(&inner.join("new")).unwrap();
        assert_eq!([&outer, &inner].map(|path| mode(path)), [0o700, 0o700]);
        assert_eq!(["old", "new"].map(|name| mode(&inner.join(name))), [0o600, 0o600]);
        assert_eq!(std::fs::read(inner.join("old")).unwrap(), b"x");
    }

    #[test]
    fn a_folder_in_which_somebody_is_is_not_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        let first = Presence::enter(&inner).unwrap().unwrap();
        assert!(first.is_alone());
        drop(first);
        let first = Presence::enter(&inner).unwrap().unwrap();
        let second = Presence::enter(&inner).unwrap().unwrap();
        assert!(!first.is_alone());
        drop(first);
        assert!(second.is_alone());
        assert_eq!(std::fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
