//! Owns finding the `nu` that runs modules: the one that asks, or the one in `PATH`.

use rustix::process::{Pid, getppid};
use std::path::{Path, PathBuf};

/// The `nu` that started this process where the system tells, else the first in `path`. `Err` says where was looked.
pub fn find(path: Option<&str>) -> Result<PathBuf, String> {
    if let Some(parent) = getppid().and_then(of_process) {
        return Ok(parent);
    }
    let folders = path.map(std::env::split_paths).into_iter().flatten();
    let found = folders.map(|folder| folder.join("nu")).find(|file| file.is_file());
    found.ok_or_else(|| format!("there is no `nu` in PATH ({})", path.unwrap_or("which is not set")))
}

/// The program of a process, when it is a `nu`.
fn of_process(process: Pid) -> Option<PathBuf> {
    let link = PathBuf::from(format!("/proc/{}/exe", process.as_raw_nonzero()));
    let program = std::fs::read_link(&link).ok()?;
    let name = program.file_name()?.to_string_lossy().into_owned();
    match name.as_str() {
        "nu" => Some(program),
        // It was replaced by a newer one; the running one is still to be had.
        "nu (deleted)" => Some(link).filter(|link| Path::exists(link)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_none_is_in_the_path_it_says_so() {
        // The parent of a test is no `nu`.
        assert!(find(Some("/nowhere:/etc")).unwrap_err().contains("/nowhere:/etc"));
        assert!(find(None).unwrap_err().contains("not set"));
    }
}
