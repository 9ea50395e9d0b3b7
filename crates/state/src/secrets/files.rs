//! Owns the files of secrets: read whole and bounded, written whole or not at all, found by name.

use provision_diagnostic::{Code, Failure};
use std::io::{ErrorKind, Read};
use std::path::Path;
use zeroize::Zeroizing;

/// Whether a part of a name may be a file or a folder: it cannot lead out of the folder it is in.
pub fn is_name(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    part.starts_with(|c: char| c.is_ascii_lowercase()) && part.len() <= 100 && part.chars().all(allowed)
}

/// The names of the files in a folder and those below it.
pub fn collect(folder: &Path, prefix: &str, parts: usize, names: &mut Vec<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if entry.file_type()?.is_dir() {
            if parts > 1 && is_name(name) {
                collect(&entry.path(), &format!("{prefix}{name}/"), parts - 1, names)?;
            }
        } else if let Some(stem) = name.strip_suffix(".age").filter(|stem| is_name(stem)) {
            names.push(format!("{prefix}{stem}"));
        }
    }
    Ok(())
}

/// The bytes of a file that has no more than `limit`.
pub fn read(path: &Path, limit: u64) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let file = std::fs::File::open(path)?;
    // Room for all of it from the start: a buffer that grows leaves copies behind.
    let room = usize::try_from(file.metadata()?.len().min(limit)).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::<u8>::with_capacity(room + 1));
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// Writes what anybody may see.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    place(path, bytes, 0o644, false).map(drop).map_err(|error| io("write", path, &error))
}

/// Writes a file whole or not at all, with its folder; what is to be `fresh` does not take the place of another.
pub fn place(path: &Path, bytes: &[u8], mode: u32, fresh: bool) -> std::io::Result<bool> {
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    crate::files::place(path, bytes, mode, fresh)
}

/// The error about a file.
pub fn io(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::SecretIo, format!("cannot {what} {}: {}", path.display(), error.kind()))
        .with_help("Check the permissions of the file and of its folder, and the space on the disk.")
}
