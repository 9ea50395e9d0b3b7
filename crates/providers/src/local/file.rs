//! Owns `local.file`: a file that is written whole, known by its path.

use super::disk::{self, Content, Writing};
use super::{Found, failed, paths, secret, text};
use crate::{CallError, Class, Operation, Sent, StepKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use provision_model::{Json, Map, Remote, unknown};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The fields that say what it holds; one of them is given.
const CONTENTS: [&str; 3] = ["content", "content_base64", "source"];

pub fn prepare(project: &Path, found: &mut Found<'_>) {
    paths::check(project, found);
    paths::check_mode(found);
    let given: Vec<&str> = CONTENTS.into_iter().filter(|name| found.has(name)).collect();
    let [given] = given.as_slice() else {
        match given.first() {
            None if found.has("sha256") => {}
            None => found.object(
                "content",
                "is absent, and nothing else says what the file holds",
                "Give `content`, `content_base64` or `source`.",
            ),
            Some(first) => {
                let others = given[1..].join("` and `");
                found.object(
                    given[1],
                    format!("and `{first}` both say what the file holds"),
                    format!("Leave out `{others}`."),
                );
            }
        }
        return;
    };
    let is_secret = found.secrets.contains(*given);
    let unclear = !is_secret && found.known(given).is_none();
    if !found.has("mode") {
        // Whether a value is secret is known when the value is.
        let mode = if is_secret { "0600" } else { "0644" };
        found.derived.insert("mode".into(), if unclear { unknown() } else { Json::from(mode) });
    }
    if found.known(given).is_none() {
        found.derived.insert("sha256".into(), unknown());
        return;
    }
    let digest = match content(project, found.fields) {
        Ok(Some(Content::Bytes(bytes))) => disk::digest(&bytes),
        Ok(Some(Content::Of(source))) => match source_digest(&source) {
            Ok(digest) => digest,
            Err(why) => {
                return found.object("source", why, "Name a file; a relative path begins at the project's folder.");
            }
        },
        Ok(None) => return,
        Err(why) => return found.object(given, why, "Give text in base64 (RFC 4648), or use `content`."),
    };
    match found.text("sha256") {
        Some(expected) if expected != digest => found.object(
            "sha256",
            format!("is not the digest of what `{given}` is now"),
            "Plan again; where you wrote `sha256` yourself, mend it or leave it out.",
        ),
        Some(_) => {}
        None => {
            let value = if is_secret { secret(digest) } else { Json::from(digest) };
            found.derived.insert("sha256".into(), value);
        }
    }
}

/// What the fields say that it holds.
fn content(project: &Path, fields: &Map) -> Result<Option<Content>, String> {
    if let Some(text) = text(fields, "content") {
        return Ok(Some(Content::Bytes(text.into_bytes())));
    }
    if let Some(text) = text(fields, "content_base64") {
        let joined: String = text.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(joined).map_err(|_| "is no base64".to_owned())?;
        return Ok(Some(Content::Bytes(bytes)));
    }
    Ok(text(fields, "source").map(|source| Content::Of(paths::place(project, &source))))
}

fn source_digest(source: &Path) -> Result<String, String> {
    let read = || -> std::io::Result<Result<String, String>> {
        // A link is followed here: only reading it is asked for.
        let metadata = std::fs::metadata(source)?;
        if !metadata.is_file() {
            return Ok(Err(format!("is {}: {}", disk::kind(&metadata), source.display())));
        }
        Ok(Ok(disk::digest_of(std::fs::File::open(source)?)?))
    };
    read().map_err(|error| format!("cannot be read: {}: {error}", source.display()))?
}

/// The file at a path as it is now. What it holds is told by its digest alone.
pub fn read(project: &Path, id: &str) -> Result<Option<Remote>, CallError> {
    let place = paths::place(project, id);
    let unreadable = |error: &std::io::Error| disk::cannot("look at", &place, error);
    let Some(metadata) = disk::look(&place).map_err(|error| unreadable(&error))? else { return Ok(None) };
    let mut remote = Remote { id: id.to_owned(), ..Remote::default() };
    remote.fields.insert("path".into(), Json::from(id));
    remote.attributes.insert("id".into(), Json::from(id));
    if !metadata.is_file() {
        remote.fields.insert("sha256".into(), Json::from(format!("{}, no file", disk::kind(&metadata))));
        return Ok(Some(remote));
    }
    remote.fields.insert("mode".into(), Json::from(paths::show_mode(disk::mode(&metadata))));
    remote.attributes.insert("size".into(), Json::from(metadata.len()));
    match disk::open(&place).and_then(disk::digest_of) {
        Ok(digest) => {
            remote.fields.insert("sha256".into(), Json::from(digest));
        }
        // Who may not read it cannot tell whether it changed: it counts as it was written.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&error)),
    }
    Ok(Some(remote))
}

pub fn send(project: &Path, operation: &Operation, kind: StepKind) -> Result<Sent, CallError> {
    let id = operation.remote_id.clone().or_else(|| text(&operation.inputs, "path")).unwrap_or_default();
    let place = paths::place(project, &id);
    let lineage = operation.identity.state.as_str();
    match kind {
        StepKind::Delete => delete(&place, lineage)?,
        StepKind::Create | StepKind::Change => {
            let mode = text(&operation.inputs, "mode").and_then(|mode| paths::parse_mode(&mode)).unwrap_or(0o644);
            let only_mode = kind == StepKind::Change && operation.changed.iter().all(|field| field == "mode");
            let content = content(project, &operation.inputs).map_err(|why| failed(Class::Rejected, why))?;
            match content {
                _ if only_mode => change_mode(&place, mode)?,
                Some(content) => {
                    let sha256 = text(&operation.inputs, "sha256");
                    let new = kind == StepKind::Create;
                    Writing { place: &place, mode, new, sha256: sha256.as_deref(), lineage }.write(&content)?;
                }
                None => {
                    return Err(failed(Class::Rejected, format!("nothing says what {} is to hold", place.display()))
                        .with_help("Give `content`, `content_base64` or `source`."));
                }
            }
        }
    }
    let once = Map::from_iter([("id".to_owned(), Json::from(id.as_str()))]);
    Ok(Sent { remote_id: Some(id), once, ..Sent::default() })
}

fn change_mode(place: &Path, mode: u32) -> Result<(), CallError> {
    let change = || disk::open(place)?.set_permissions(Permissions::from_mode(mode));
    change().map_err(|error| disk::cannot("change the mode of", place, &error))
}

fn delete(place: &Path, lineage: &str) -> Result<(), CallError> {
    match disk::look(place).map_err(|error| disk::cannot("look at", place, &error))? {
        None => Err(failed(Class::Gone, format!("{} is gone", place.display()))),
        Some(metadata) if metadata.is_file() => disk::remove_file(place, lineage),
        Some(metadata) => {
            let message = format!("{} is {} now, not the file that was made", place.display(), disk::kind(&metadata));
            Err(failed(Class::Protected, message)
                .with_help("Move it away, or let go of it with `provision state forget`."))
        }
    }
}
