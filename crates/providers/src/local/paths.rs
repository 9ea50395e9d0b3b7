//! Owns paths and modes as users write them.

use super::Found;
use std::path::{Component, Path, PathBuf};

/// Where the state is.
const STATE: &str = ".provision";

/// Where a path is: a relative one begins at the project's folder.
pub fn place(project: &Path, path: &str) -> PathBuf {
    project.join(path)
}

/// Objects to a path that has more than one way to be written, or that leaves the project by `..`.
pub fn check(project: &Path, found: &mut Found<'_>) {
    let Some(path) = found.text("path") else { return };
    let elsewhere =
        "A path is relative to the project's folder and stays in it; for another place write an absolute one.";
    if path.is_empty() || path.contains('\0') {
        return found.object("path", "is no path", elsewhere);
    }
    let parts: Vec<Component<'_>> = Path::new(&path).components().collect();
    if parts.contains(&Component::ParentDir) {
        return found.object("path", format!("leaves its folder: `{path}`"), elsewhere);
    }
    let tidy: PathBuf = parts.iter().filter(|part| **part != Component::CurDir).collect();
    if tidy.as_os_str() != path.as_str() {
        let help = match tidy.as_os_str().is_empty() {
            true => "Name something in the project's folder.".to_owned(),
            false if found.secrets.contains("path") => "Write it without needless dots and slashes.".to_owned(),
            false => format!("Write `{}`.", tidy.display()),
        };
        return found.object("path", format!("has a shorter form: `{path}`"), help);
    }
    if tidy.file_name().is_none() {
        return found.object("path", format!("names no file: `{path}`"), elsewhere);
    }
    if place(project, &path).starts_with(project.join(STATE)) {
        found.object("path", format!("is where the state is kept: `{path}`"), "Choose a path outside `.provision`.");
    }
}

/// Objects to a mode that is no four octal digits.
pub fn check_mode(found: &mut Found<'_>) {
    let Some(mode) = found.text("mode") else { return };
    if parse_mode(&mode).is_none() {
        found.object("mode", format!("is no mode: `{mode}`"), "Write it as four octal digits, for example `0644`.");
    }
}

/// The bits of `0644`.
pub fn parse_mode(text: &str) -> Option<u32> {
    let octal = text.len() == 4 && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    octal.then(|| u32::from_str_radix(text, 8).ok()).flatten()
}

/// `0644` of the bits.
pub fn show_mode(bits: u32) -> String {
    format!("{:04o}", bits & 0o7777)
}
