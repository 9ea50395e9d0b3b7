//! Owns `local.directory`: a directory, known by its path.

use super::{Found, disk, failed, flag, paths, text};
use crate::{CallError, Class, Operation, Sent, StepKind};
use provision_model::{Json, Map, Remote};
use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

pub fn prepare(project: &Path, found: &mut Found<'_>) {
    paths::check(project, found);
    paths::check_mode(found);
}

/// The directory at a path as it is now.
pub fn read(project: &Path, id: &str) -> Result<Option<Remote>, CallError> {
    let place = paths::place(project, id);
    let metadata = disk::look(&place).map_err(|error| disk::cannot("look at", &place, &error))?;
    let Some(metadata) = metadata else { return Ok(None) };
    let mode = match metadata.is_dir() {
        true => paths::show_mode(disk::mode(&metadata)),
        false => format!("{}, no directory", disk::kind(&metadata)),
    };
    Ok(Some(Remote {
        id: id.to_owned(),
        fields: Map::from_iter([("path".to_owned(), Json::from(id)), ("mode".to_owned(), Json::from(mode))]),
        attributes: Map::from_iter([("id".to_owned(), Json::from(id))]),
        ..Remote::default()
    }))
}

pub fn send(project: &Path, operation: &Operation, kind: StepKind) -> Result<Sent, CallError> {
    let id = operation.remote_id.clone().or_else(|| text(&operation.inputs, "path")).unwrap_or_default();
    let place = paths::place(project, &id);
    let mode = text(&operation.inputs, "mode").and_then(|mode| paths::parse_mode(&mode)).unwrap_or(0o755);
    match kind {
        StepKind::Create => disk::make_directory(&place, mode, &operation.identity.state)?,
        StepKind::Change => {
            must_be(&place)?;
            std::fs::set_permissions(&place, Permissions::from_mode(mode))
                .map_err(|error| disk::cannot("change the mode of", &place, &error))?;
        }
        StepKind::Delete => delete(&place, flag(&operation.prior, "force").unwrap_or(false))?,
    }
    let once = Map::from_iter([("id".to_owned(), Json::from(id.as_str()))]);
    Ok(Sent { remote_id: Some(id), once, ..Sent::default() })
}

/// Refuses what is no directory: a link would lead elsewhere.
fn must_be(place: &Path) -> Result<(), CallError> {
    match disk::look(place).map_err(|error| disk::cannot("look at", place, &error))? {
        None => Err(failed(Class::Gone, format!("{} is gone", place.display()))),
        Some(metadata) if metadata.is_dir() => Ok(()),
        Some(metadata) => {
            let what = disk::kind(&metadata);
            let message = format!("{} is {what} now, not the directory that was made", place.display());
            Err(failed(Class::Protected, message)
                .with_help("Move it away, or let go of it with `provision state forget`."))
        }
    }
}

fn delete(place: &Path, force: bool) -> Result<(), CallError> {
    must_be(place)?;
    let done = match force {
        true => std::fs::remove_dir_all(place),
        false => std::fs::remove_dir(place),
    };
    done.map_err(|error| match error.kind() {
        ErrorKind::DirectoryNotEmpty => {
            let message = format!("{} holds something that is not of this project", place.display());
            failed(Class::Protected, message)
                .with_help("Take out what is in it, or apply `force = true` first, which deletes that too.")
        }
        _ => disk::cannot("delete", place, &error),
    })?;
    disk::sync_parent(place);
    Ok(())
}
