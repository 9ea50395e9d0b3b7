//! Owns consent: what `provision.lock` allows beyond what comes with the engine, and to whom it was given.
//!
//! The file is committed text: a change of what a project trusts is seen in a review like any other.

use crate::installed::Lock;
use provision_diagnostic::{Code, Failure};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a project trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// The hosts that get a provider's credentials besides its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, BTreeSet<String>>,
    /// Extensions that replace a built-in provider, by the digest of their files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub providers: BTreeMap<String, String>,
    /// Files and folders outside the project that Nickel files may import; relative ones begin at the project.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub imports: BTreeSet<String>,
}

/// One consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Consent {
    Host { provider: String, host: String },
    Provider { provider: String, digest: String },
    Import { path: String },
}

impl Trust {
    pub fn is_empty(&self) -> bool {
        *self == Trust::default()
    }

    /// Whether a provider's credentials may go to a host, as [`Destination::host`] writes it.
    pub fn allows_host(&self, provider: &str, host: &str) -> bool {
        self.hosts.get(provider).is_some_and(|hosts| hosts.contains(host))
    }

    /// Whether an extension with these files may take the place of a built-in provider.
    pub fn allows_provider(&self, name: &str, digest: &str) -> bool {
        self.providers.get(name).is_some_and(|trusted| trusted == digest)
    }

    /// Every consent: hosts, providers, imports, each in alphabetical order.
    pub fn all(&self) -> Vec<Consent> {
        let hosts = self.hosts.iter().flat_map(|(provider, hosts)| {
            hosts.iter().map(|host| Consent::Host { provider: provider.clone(), host: host.clone() })
        });
        let providers = self.providers.iter();
        let providers =
            providers.map(|(name, digest)| Consent::Provider { provider: name.clone(), digest: digest.clone() });
        hosts.chain(providers).chain(self.imports.iter().map(|path| Consent::Import { path: path.clone() })).collect()
    }

    /// Gives a consent; one for other files of the same extension takes its place.
    pub fn add(&mut self, consent: &Consent) {
        match consent.clone() {
            Consent::Host { provider, host } => _ = self.hosts.entry(provider).or_default().insert(host),
            Consent::Provider { provider, digest } => _ = self.providers.insert(provider, digest),
            Consent::Import { path } => _ = self.imports.insert(path),
        }
    }

    /// Takes a consent back; whether it was there. That for an extension goes whatever its files are.
    pub fn remove(&mut self, consent: &Consent) -> bool {
        match consent {
            Consent::Host { provider, host } => {
                let there = self.hosts.get_mut(provider).is_some_and(|hosts| hosts.remove(host));
                self.hosts.retain(|_, hosts| !hosts.is_empty());
                there
            }
            Consent::Provider { provider, .. } => self.providers.remove(provider).is_some(),
            Consent::Import { path } => self.imports.remove(path),
        }
    }
}

impl Lock {
    /// The places outside the project from which its Nickel files may import, links resolved. What is not there is left out.
    pub fn imports(&self, project: &Path) -> Vec<PathBuf> {
        self.trust.imports.iter().filter_map(|path| project.join(path).canonicalize().ok()).collect()
    }

    /// Whether Nickel files of a project may import a file, links resolved: one inside the project, or one that is trusted or
    /// in a folder that is.
    pub fn allows_import(&self, project: &Path, file: &Path) -> bool {
        let Ok(file) = file.canonicalize() else { return false };
        let inside = |folder: &Path| file.starts_with(folder);
        project.canonicalize().is_ok_and(|project| inside(&project))
            || self.imports(project).iter().any(|allowed| inside(allowed))
    }
}

/// Where a request goes: enough of an endpoint to decide whether a credential may go there too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// `https://api.example.com:8443`, in lower case.
    pub host: String,
    pub is_loopback: bool,
    pub is_encrypted: bool,
}

impl Destination {
    /// The endpoint of a URL, in which `{region}` may stand. What two programs could read in two ways is refused: user names,
    /// backslashes, spaces, and what no host name has.
    pub fn of(url: &str) -> Result<Destination, Failure> {
        let wrong = || {
            Failure::new(Code::ConfigInvalid, format!("`{url}` is not a valid endpoint"))
                .with_help("Write it as https://HOST, with a port and a path where they are needed.")
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let scheme = scheme.to_ascii_lowercase();
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default().to_ascii_lowercase();
        let odd = |character: char| !(character.is_ascii_alphanumeric() || "-._:[]".contains(character));
        let is_odd = authority.replace("{region}", "region").contains(odd);
        if !["http", "https"].contains(&scheme.as_str()) || authority.is_empty() || is_odd {
            return Err(wrong());
        }
        let name = match authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        };
        let is_loopback = name == "localhost"
            || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
        let port = if scheme == "http" { ":80" } else { ":443" };
        let host = authority.strip_suffix(port).unwrap_or(&authority);
        Ok(Destination { host: format!("{scheme}://{host}"), is_loopback, is_encrypted: scheme == "https" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_its_scheme_host_and_port() {
        let of = |url: &str| Destination::of(url).map(|it| (it.host, it.is_loopback, it.is_encrypted));
        assert_eq!(of("https://API.example.com:443/v1").unwrap(), ("https://api.example.com".into(), false, true));
        assert_eq!(of("http://127.0.0.1:80?x").unwrap(), ("http://127.0.0.1".into(), true, false));
        assert_eq!(of("http://[::1]:8/").unwrap(), ("http://[::1]:8".into(), true, false));
        assert!(of("http://localhost:1").unwrap().1 && !of("http://localhost.example.com").unwrap().1);
        assert!(!of("http://127.0.0.1.example.com").unwrap().1 && !of("http://2130706433").unwrap().1);
        assert_eq!(of("https://ec2.{region}.amazonaws.com").unwrap().0, "https://ec2.{region}.amazonaws.com");
        for odd in [
            "https://a@evil.example",
            "https://a\\@b",
            "https://a b",
            "ftp://a",
            "a.example",
            "https:///x",
            "https://ä",
        ] {
            assert_eq!(of(odd).unwrap_err().code(), Code::ConfigInvalid, "{odd}");
        }
    }

    #[test]
    fn a_consent_is_for_what_it_was_given_and_comes_back_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let host = Consent::Host { provider: "acme".into(), host: "https://a.example".into() };
        let shadow = Consent::Provider { provider: "hetzner".into(), digest: "sha256:1".into() };
        let import = Consent::Import { path: "../shared".into() };
        let mut lock = Lock::default();
        [&host, &shadow, &import].into_iter().for_each(|consent| lock.trust.add(consent));
        lock.write(folder.path()).unwrap();
        let mut lock = Lock::read(folder.path()).unwrap();
        assert_eq!(lock.trust.all(), [host.clone(), shadow.clone(), import.clone()]);
        assert!(
            lock.trust.allows_host("acme", "https://a.example") && !lock.trust.allows_host("acme", "http://a.example")
        );
        assert!(!lock.trust.allows_host("other", "https://a.example"));
        assert!(
            lock.trust.allows_provider("hetzner", "sha256:1") && !lock.trust.allows_provider("hetzner", "sha256:2")
        );
        for consent in [&host, &shadow, &import] {
            assert!(lock.trust.remove(consent) && !lock.trust.remove(consent));
        }
        assert!(lock.trust.is_empty());
    }

    #[test]
    fn an_import_stays_inside_the_project_unless_its_target_is_trusted() {
        let base = tempfile::tempdir().unwrap();
        let project = base.path().join("project");
        for folder in ["project/lib", "shared"] {
            std::fs::create_dir_all(base.path().join(folder)).unwrap();
        }
        for file in ["project/lib/a.ncl", "shared/b.ncl"] {
            std::fs::write(base.path().join(file), "1").unwrap();
        }
        std::os::unix::fs::symlink(base.path().join("shared/b.ncl"), project.join("link.ncl")).unwrap();
        let mut lock = Lock::default();
        assert!(lock.allows_import(&project, &project.join("lib/a.ncl")));
        let outside = [project.join("link.ncl"), project.join("../shared/b.ncl"), PathBuf::from("/etc/passwd")];
        assert!(outside.iter().all(|file| !lock.allows_import(&project, file)));
        lock.trust.add(&Consent::Import { path: "../shared".into() });
        let allowed: Vec<bool> = outside.iter().map(|file| lock.allows_import(&project, file)).collect();
        assert_eq!(allowed, [true, true, false]);
    }
}
