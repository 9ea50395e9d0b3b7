//! Owns bringing a provider into a project: from a folder or an archive, checked before anything is written, pinned after.

use crate::files::write_durably;
use crate::installed::{self, Lock, Pin};
use crate::{Consent, Destination, MANIFEST, Manifest, check_module, lint, module};
use provision_diagnostic::{Code, Failure};
use provision_nickel::{Evaluator, Source};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// Most bytes that an unpacked provider may have; a manifest is a page.
const LARGEST: u64 = 64 << 20;

/// Where a project keeps the providers of its own, each in a folder of its name.
pub fn folder_of(project: &Path) -> PathBuf {
    project.join("extensions/providers")
}

/// A provider that could be added.
pub struct Candidate {
    pub manifest: Manifest,
    pub digest: String,
    files: BTreeMap<String, Vec<u8>>,
}

fn refused(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::new(Code::ProviderArchive, format!("{} is no provider that can be used: {why}", path.display()))
        .with_help("Give a folder or a `.tar.gz` with a `manifest.ncl` or a `mod.nu`.")
}

/// Whether a provider can be described by these files.
fn describes(files: &BTreeMap<String, Vec<u8>>) -> bool {
    [MANIFEST, module::FILE].iter().any(|name| files.contains_key(*name))
}

/// What a module is called: as its folder is, or as its archive without the version.
fn called(path: &Path) -> String {
    let name =
        std::fs::canonicalize(path).ok().and_then(|whole| Some(whole.file_name()?.to_string_lossy().into_owned()));
    let name = name.unwrap_or_default();
    let bare = [".tar.gz", ".tgz"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    match bare.rsplit_once('-').filter(|(_, version)| version.starts_with(|c: char| c.is_ascii_digit() || c == 'v')) {
        Some((name, _)) => name.to_owned(),
        None => bare.to_owned(),
    }
}

/// Reads a provider from a folder or a `.tar.gz`, and checks its digest and its manifest. The digest of an archive is
/// that of the file or that of its content; that of a folder is what `provision provider list` shows.
pub fn open(path: &Path, expected: Option<&str>, evaluator: &Evaluator) -> Result<Candidate, Failure> {
    let mut known = Vec::new();
    let files = if path.is_dir() {
        installed::files(path).map_err(|error| refused(path, error))?
    } else {
        let bytes = std::fs::read(path).map_err(|error| refused(path, error))?;
        known.push(installed::sha256(&bytes));
        unpack(&bytes).map_err(|why| refused(path, why))?
    };
    let digest = installed::digest_of(&files);
    known.push(digest.clone());
    if let Some(expected) = expected {
        let expected = format!("sha256:{}", expected.trim().trim_start_matches("sha256:").to_ascii_lowercase());
        if !known.contains(&expected) {
            return Err(Failure::new(
                Code::ProviderDigest,
                format!("{} has the digest {}, not {expected}", path.display(), known.join(" or ")),
            )
            .with_help("Do not use it before you know why; ask who published it."));
        }
    }
    if !describes(&files) {
        return Err(refused(path, "it has neither a manifest.ncl nor a mod.nu"));
    }
    // Its imports are looked up beside it, so it is unpacked before it is read.
    let scratch = tempfile::tempdir().map_err(|error| refused(path, error))?;
    write_all(scratch.path(), &files).map_err(|error| refused(path, error))?;
    let linted = match files.contains_key(MANIFEST) {
        true => lint(Source::File(scratch.path().join(MANIFEST)), evaluator, Some(scratch.path().to_owned()))?,
        // A folder is looked at where it is: that is where its mistakes are mended.
        false if path.is_dir() => check_module(path, &called(path), evaluator)?,
        false => check_module(scratch.path(), &called(path), evaluator)?,
    };
    let Some(mut manifest) = linted.sound()? else { return Err(refused(path, "its manifest cannot be read")) };
    module::attach(&mut manifest, if path.is_dir() { path } else { scratch.path() })?;
    Ok(Candidate { manifest, digest, files })
}

/// Puts a provider into a project in the place of one of the same name, and pins it.
pub fn add(project: &Path, candidate: &Candidate) -> Result<Pin, Failure> {
    let name = &candidate.manifest.name;
    let folder = folder_of(project).join(name);
    let failed = |error: std::io::Error| refused(&folder, error);
    let mut lock = Lock::read(project)?;
    let beside = folder.with_file_name(format!(".{name}.{}", std::process::id()));
    let old = folder.with_file_name(format!(".{name}.{}.old", std::process::id()));
    write_all(&beside, &candidate.files).map_err(failed)?;
    if folder.exists() {
        std::fs::rename(&folder, &old).map_err(failed)?;
    }
    std::fs::rename(&beside, &folder).map_err(failed)?;
    let pin = Pin { version: candidate.manifest.version.clone(), digest: candidate.digest.clone() };
    lock.providers.insert(name.clone(), pin.clone());
    // Whoever adds a provider means its cloud; another host, in a later version too, is asked about.
    if let Ok(destination) = Destination::of(&candidate.manifest.endpoint.default) {
        lock.trust.add(&Consent::Host { provider: name.clone(), host: destination.host });
    }
    lock.write(project)?;
    let _ = std::fs::remove_dir_all(&old);
    Ok(pin)
}

/// Pins a provider of the project as it is now.
pub fn repin(project: &Path, name: &str, evaluator: &Evaluator) -> Result<(Manifest, Pin), Failure> {
    let folder = folder_of(project).join(name);
    let candidate = open(&folder, None, evaluator)?;
    let pin = Pin { version: candidate.manifest.version.clone(), digest: candidate.digest };
    let mut lock = Lock::read(project)?;
    lock.providers.insert(name.to_owned(), pin.clone());
    lock.write(project)?;
    Ok((candidate.manifest, pin))
}

/// Takes a provider out of a project.
pub fn remove(project: &Path, name: &str) -> Result<(), Failure> {
    let folder = folder_of(project).join(name);
    let mut lock = Lock::read(project)?;
    let trusted = lock.trust.hosts.remove(name).is_some() | lock.trust.providers.remove(name).is_some();
    if lock.providers.remove(name).is_some() || trusted {
        lock.write(project)?;
    }
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(refused(&folder, error)),
        _ => Ok(()),
    }
}

fn write_all(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> std::io::Result<()> {
    for (name, bytes) in files {
        let file = folder.join(name);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        write_durably(&file, bytes)?;
    }
    Ok(())
}

/// The files of a `.tar.gz`. One folder that holds everything is taken off. Links and paths that lead out are refused.
fn unpack(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut tar = Vec::new();
    let mut limited = flate2::read::MultiGzDecoder::new(bytes).take(LARGEST + 1);
    limited.read_to_end(&mut tar).map_err(|error| format!("it is no gzip archive: {error}"))?;
    if tar.len() as u64 > LARGEST {
        return Err(format!("it unpacks to more than {} MiB", LARGEST >> 20));
    }
    let mut files = BTreeMap::new();
    let (mut at, mut long) = (0, None);
    while let Some(header) = tar.get(at..at + 512).filter(|header| header.iter().any(|byte| *byte != 0)) {
        let text = |range: std::ops::Range<usize>| {
            let field = &header[range];
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            String::from_utf8_lossy(&field[..end]).trim().to_owned()
        };
        let size = usize::from_str_radix(&text(124..136), 8).map_err(|_| "it is no tar archive".to_owned())?;
        let content = tar.get(at + 512..at + 512 + size).ok_or("it is cut off")?;
        at += 512 + size.div_ceil(512) * 512;
        let prefix = if &header[257..262] == b"ustar" { text(345..500) } else { String::new() };
        let short = if prefix.is_empty() { text(0..100) } else { format!("{prefix}/{}", text(0..100)) };
        let name = long.take().unwrap_or(short);
        match header[156] {
            b'0' | 0 => {
                files.insert(inside(&name)?, content.to_vec());
            }
            b'L' => long = Some(String::from_utf8_lossy(content).trim_end_matches('\0').to_owned()),
            // A record `LENGTH path=NAME` of the pax format names the entry that follows.
            b'x' => {
                long = String::from_utf8_lossy(content)
                    .lines()
                    .find_map(|line| line.split_once(" path=").map(|(_, name)| name.to_owned()));
            }
            b'5' | b'g' => {}
            _ => return Err(format!("`{name}` is neither a file nor a folder")),
        }
    }
    if files.is_empty() {
        return Err("it holds no files".to_owned());
    }
    let top = files.keys().next().and_then(|name| name.split_once('/')).map(|(top, _)| format!("{top}/"));
    match top.filter(|top| !describes(&files) && files.keys().all(|name| name.starts_with(top.as_str()))) {
        Some(top) => Ok(files.into_iter().map(|(name, bytes)| (name[top.len()..].to_owned(), bytes)).collect()),
        None => Ok(files),
    }
}

/// A path that stays inside the folder it is unpacked in.
fn inside(name: &str) -> Result<String, String> {
    let mut parts = Vec::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::CurDir => {}
            _ => return Err(format!("`{name}` leads out of the archive")),
        }
    }
    match parts.is_empty() {
        true => Err("an entry has no name".to_owned()),
        false => Ok(parts.join("/")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn archive(entries: &[(&str, u8, &str)]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (name, kind, content) in entries {
            let mut header = [0u8; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
            header[156] = *kind;
            header[257..262].copy_from_slice(b"ustar");
            tar.extend(header);
            tar.extend(content.as_bytes());
            tar.resize(tar.len().div_ceil(512) * 512, 0);
        }
        tar.resize(tar.len() + 1024, 0);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&tar).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn an_archive_unpacks_to_its_files_and_never_out_of_its_folder() {
        let good = archive(&[("x-1/", b'5', ""), ("x-1/manifest.ncl", b'0', "{}"), ("x-1/lib/a.ncl", b'0', "1")]);
        let files = unpack(&good).unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["lib/a.ncl", "manifest.ncl"]);
        for (entries, why) in [
            (vec![("../manifest.ncl", b'0', "{}")], "leads out"),
            (vec![("/etc/x", b'0', "{}")], "leads out"),
            (vec![("manifest.ncl", b'2', "")], "neither"),
            (vec![], "no files"),
        ] {
            assert!(unpack(&archive(&entries)).unwrap_err().contains(why), "{entries:?}");
        }
        assert!(unpack(b"<html>").unwrap_err().contains("gzip"));
        assert!(unpack(&good[..good.len() / 2]).is_err());
    }
}
