//! Owns what is known of an installed provider besides its manifest: where it is, and which version the project pins.

use crate::files::write_durably;
use crate::trust::Trust;
use provision_diagnostic::{Code, Failure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file of a project that pins its providers and keeps what it trusts.
pub const LOCK: &str = "provision.lock";

/// Where a provider comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    BuiltIn,
    User,
    Project,
    /// Given with `--provider`.
    Session,
}

/// What is known of an installed provider besides its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    pub origin: Origin,
    /// Its folder; `None` for a built-in one.
    pub folder: Option<PathBuf>,
    /// `sha256:…` over its files; `None` for a built-in one, which comes with the engine.
    pub digest: Option<String>,
    /// Whether `provision.lock` holds it to this digest.
    pub pinned: bool,
}

/// A pinned provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    pub version: String,
    pub digest: String,
}

/// `provision.lock`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    pub version: u32,
    #[serde(default)]
    pub providers: BTreeMap<String, Pin>,
    #[serde(default, skip_serializing_if = "Trust::is_empty")]
    pub trust: Trust,
}

impl Default for Lock {
    fn default() -> Self {
        Self { version: 1, providers: BTreeMap::new(), trust: Trust::default() }
    }
}

impl Lock {
    /// The lock of a project; empty where there is no file.
    pub fn read(project: &Path) -> Result<Lock, Failure> {
        let file = project.join(LOCK);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Lock::default()),
            Err(error) => return Err(unreadable(&file, &error.to_string())),
        };
        let lock: Lock = serde_json::from_str(&text).map_err(|error| unreadable(&file, &error.to_string()))?;
        if lock.version != 1 {
            return Err(unreadable(&file, &format!("it has version {}, this engine reads 1", lock.version)));
        }
        Ok(lock)
    }

    /// Writes the lock of a project, whole or not at all.
    pub fn write(&self, project: &Path) -> Result<(), Failure> {
        let file = project.join(LOCK);
        let failed = |error: std::io::Error| {
            Failure::new(Code::ProviderChanged, format!("cannot write {}: {error}", file.display()))
                .with_help("Check the permissions and the space of the project folder.")
        };
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))? + "\n";
        write_durably(&file, text.as_bytes()).map_err(failed)
    }

    /// Refuses a provider that is not the pinned one; whether it is pinned at all.
    pub fn verify(&self, name: &str, version: &str, digest: &str) -> Result<bool, Failure> {
        let Some(pin) = self.providers.get(name) else { return Ok(false) };
        if pin.digest == digest && pin.version == version {
            return Ok(true);
        }
        let what = match pin.version == version {
            true => format!("its files changed: {} instead of {}", short(digest), short(&pin.digest)),
            false => format!("it is version {version} instead of {}", pin.version),
        };
        Err(Failure::new(
            Code::ProviderChanged,
            format!("the provider `{name}` is not the one that {LOCK} pins: {what}"),
        )
        .with_help(format!(
            "Run `provision provider upgrade {name}` to pin what is there, or put version {} back.",
            pin.version
        )))
    }

    /// Refuses a project that lacks a pinned provider.
    pub fn all_there(&self, there: impl Fn(&str) -> bool) -> Result<(), Failure> {
        match self.providers.iter().find(|(name, _)| !there(name)) {
            None => Ok(()),
            Some((name, pin)) => Err(Failure::new(
                Code::ProviderChanged,
                format!("the provider `{name}` that {LOCK} pins is not in extensions/providers"),
            )
            .with_help(format!(
                "Run `provision provider add` with version {} of it, or `provision provider remove {name}`.",
                pin.version
            ))),
        }
    }
}

/// The beginning of a digest, enough to tell two apart.
fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

fn unreadable(file: &Path, why: &str) -> Failure {
    Failure::new(Code::ProviderChanged, format!("cannot read {}: {why}", file.display()))
        .with_help("Put it back from version control, or remove it and add the providers again.")
}

/// `sha256:…` of bytes.
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", data_encoding::HEXLOWER.encode(&Sha256::digest(bytes)))
}

/// The files below a folder, by their relative path. Links are not followed: they could lead anywhere.
pub fn files(folder: &Path) -> std::io::Result<BTreeMap<String, Vec<u8>>> {
    let mut out = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(&at)? {
            let entry = entry?;
            let (kind, path) = (entry.file_type()?, entry.path());
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() {
                let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                out.insert(name, std::fs::read(&path)?);
            }
        }
    }
    Ok(out)
}

/// The digest of files by name and content.
pub fn digest_of(files: &BTreeMap<String, Vec<u8>>) -> String {
    let list: Vec<String> = files.iter().map(|(name, bytes)| format!("{}  {name}\n", sha256(bytes))).collect();
    sha256(list.concat().as_bytes())
}

/// The digest of a folder.
pub fn folder_digest(folder: &Path) -> std::io::Result<String> {
    Ok(digest_of(&files(folder)?))
}
