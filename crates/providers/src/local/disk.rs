//! Owns changing the disk so that a crash leaves either the old or the new: written beside, made durable, renamed.

use super::failed;
use crate::{CallError, Class};
use data_encoding::HEXLOWER;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use sha2::{Digest, Sha256};
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What a file is to hold.
pub enum Content {
    Bytes(Vec<u8>),
    /// What another file holds.
    Of(PathBuf),
}

/// Where something is written before it has its name. One for each name and state, so that what a crash left is found again.
fn beside(place: &Path, lineage: &str) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let digest = HEXLOWER.encode(&Sha256::digest(format!("{lineage}\n{name}"))[..8]);
    place.with_file_name(format!(".nu-provision-{digest}"))
}

/// What is at a place, links not followed; `None` where nothing is.
pub fn look(place: &Path) -> std::io::Result<Option<Metadata>> {
    match std::fs::symlink_metadata(place) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What something that is no regular file is called.
pub fn kind(metadata: &Metadata) -> &'static str {
    match metadata.file_type() {
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_dir() => "a directory",
        kind if kind.is_file() => "a file",
        _ => "a device or a pipe",
    }
}

/// The permission bits.
pub fn mode(metadata: &Metadata) -> u32 {
    metadata.mode() & 0o7777
}

/// Opens a regular file for reading, links not followed and pipes not waited for.
pub fn open(place: &Path) -> std::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(File::from(rustix::fs::open(place, flags, Mode::empty())?))
}

/// Reads to the end, writing what is read, and gives the SHA-256 of it in hexadecimal.
fn pour(from: &mut dyn Read, to: &mut dyn Write) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(HEXLOWER.encode(&hash.finalize())),
            Ok(count) => {
                hash.update(&buffer[..count]);
                to.write_all(&buffer[..count])?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The SHA-256 of bytes, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

/// The SHA-256 of what a file holds.
pub fn digest_of(mut file: File) -> std::io::Result<String> {
    pour(&mut file, &mut std::io::sink())
}

/// How a file is written.
pub struct Writing<'a> {
    pub place: &'a Path,
    pub mode: u32,
    /// Refused where something is there already.
    pub new: bool,
    /// The SHA-256 that it is to have, where that was said before.
    pub sha256: Option<&'a str>,
    /// Of the state that writes.
    pub lineage: &'a str,
}

impl Writing<'_> {
    /// Writes the file whole or not at all.
    pub fn write(&self, content: &Content) -> Result<(), CallError> {
        let place = self.place;
        make_parents(place)?;
        let temporary = beside(place, self.lineage);
        let _ = std::fs::remove_file(&temporary);
        let done = self.fill(&temporary, content).and_then(|()| {
            if !self.new
                && let Ok(Some(there)) = look(place)
                && there.is_dir()
            {
                let help = "Move the directory away, or give the file another path.";
                return Err(failed(Class::Rejected, format!("{} is a directory", place.display())).with_help(help));
            }
            settle(&temporary, place, self.new)
        });
        if done.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        done
    }

    fn fill(&self, temporary: &Path, content: &Content) -> Result<(), CallError> {
        let cannot = |error: std::io::Error| cannot("write", self.place, &error);
        // Nobody reads it before it has the mode that was asked for.
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(temporary).map_err(cannot)?;
        let digest = match content {
            Content::Bytes(bytes) => pour(&mut bytes.as_slice(), &mut file).map_err(cannot)?,
            Content::Of(source) => {
                let mut from = File::open(source).map_err(|error| self::cannot("read", source, &error))?;
                pour(&mut from, &mut file).map_err(cannot)?
            }
        };
        if self.sha256.is_some_and(|expected| expected != digest) {
            let message = format!("what {} is to hold has changed since it was planned", self.place.display());
            return Err(failed(Class::Rejected, message).with_help("Plan again."));
        }
        file.set_permissions(std::fs::Permissions::from_mode(self.mode)).map_err(cannot)?;
        file.sync_all().map_err(cannot)
    }
}

/// Makes a directory with exactly these permissions.
pub fn make_directory(place: &Path, mode: u32, lineage: &str) -> Result<(), CallError> {
    make_parents(place)?;
    let temporary = beside(place, lineage);
    let _ = std::fs::remove_dir(&temporary);
    let cannot = |error: std::io::Error| cannot("make", place, &error);
    std::fs::DirBuilder::new().mode(0o700).create(&temporary).map_err(cannot)?;
    let done = std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(mode))
        .map_err(cannot)
        .and_then(|()| settle(&temporary, place, true));
    if done.is_err() {
        let _ = std::fs::remove_dir(&temporary);
    }
    done
}

/// Gives what was written beside its name, and makes that durable.
fn settle(temporary: &Path, place: &Path, new: bool) -> Result<(), CallError> {
    let flags = if new { RenameFlags::NOREPLACE } else { RenameFlags::empty() };
    let named = match rustix::fs::renameat_with(CWD, temporary, CWD, place, flags) {
        // A file system that cannot refuse by itself: looked at just before.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => match look(place) {
            Ok(Some(_)) if new => Err(ErrorKind::AlreadyExists.into()),
            _ => std::fs::rename(temporary, place),
        },
        done => done.map_err(std::io::Error::from),
    };
    named.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            let help = "Move it away, choose another path, or take it in with `provision import`.";
            failed(Class::Conflict, format!("{} is there already", place.display())).with_help(help)
        }
        _ => cannot("write", place, &error),
    })?;
    sync_parent(place);
    Ok(())
}

/// Takes a regular file away.
pub fn remove_file(place: &Path, lineage: &str) -> Result<(), CallError> {
    let _ = std::fs::remove_file(beside(place, lineage));
    std::fs::remove_file(place).map_err(|error| cannot("delete", place, &error))?;
    sync_parent(place);
    Ok(())
}

fn make_parents(place: &Path) -> Result<(), CallError> {
    let Some(parent) = place.parent() else { return Ok(()) };
    std::fs::create_dir_all(parent).map_err(|error| cannot("make", parent, &error))
}

/// Makes a change of a folder durable. A file system that cannot is no reason to undo it.
pub fn sync_parent(place: &Path) {
    if let Some(Ok(folder)) = place.parent().map(File::open) {
        let _ = folder.sync_all();
    }
}

/// What the system said, with what helps.
pub fn cannot(what: &str, place: &Path, error: &std::io::Error) -> CallError {
    let class = match error.kind() {
        ErrorKind::NotFound if what == "delete" => Class::Gone,
        _ => Class::Rejected,
    };
    let help = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "Make room, then run `provision apply` again.",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "Give who runs this the right to it, or choose another path."
        }
        ErrorKind::NotADirectory => "A part of the path is no directory: move that away, or choose another path.",
        ErrorKind::InvalidFilename => "Choose a shorter name.",
        _ => "Look at the path, then run `provision apply` again.",
    };
    failed(class, format!("cannot {what} {}: {error}", place.display())).with_help(help)
}
