//! Owns how files that people keep are written: whole or not at all, and durable.

use std::fs::{File, Permissions};
use std::io::{Result, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Writes a file that everybody may read, so that a reader, and whoever comes after a crash, sees all of it or what was there
/// before.
pub fn write_durably(file: &Path, bytes: &[u8]) -> Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut beside =
        tempfile::Builder::new().prefix(".new-").permissions(Permissions::from_mode(0o644)).tempfile_in(folder)?;
    beside.write_all(bytes)?;
    beside.as_file().sync_all()?;
    beside.persist(file)?;
    // Not every file system can.
    let _ = File::open(folder)?.sync_all();
    Ok(())
}
