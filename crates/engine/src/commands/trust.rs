//! Owns giving and taking back consent: what is asked for is looked up, written to `provision.lock`, and audited.

use crate::configuration::environments::location;
use crate::host::Environment;
use provision_diagnostic::{Code, Failure, did_you_mean};
use provision_model::{Json, Map};
use provision_registry::{Consent, Destination, Lock, built_in, built_in_names, folder_digest, folder_of};
use provision_state::{Lease, Store};
use std::path::{Component, Path, PathBuf};

/// The words for what can be trusted.
const KINDS: [&str; 3] = ["host", "provider", "import"];

/// What somebody wants to trust, in words.
pub struct Wanted<'a> {
    /// `host`, `provider` or `import`.
    pub kind: &'a str,
    /// A URL, the name of a provider, or a path.
    pub what: &'a str,
    /// Whose credentials the host gets.
    pub provider: Option<&'a str>,
}

impl Wanted<'_> {
    /// The consent that it is. `here` is where relative paths begin, `user_dir` has the user's own providers.
    pub fn consent(&self, project: &Path, here: &Path, user_dir: Option<&Path>) -> Result<Consent, Failure> {
        match self.kind {
            "host" => {
                let provider = self.provider.ok_or_else(|| {
                    Failure::new(Code::TrustKind, "a host is trusted with the credentials of one provider")
                        .with_help("Name it with --provider.")
                })?;
                known(provider, project, user_dir)?;
                Ok(Consent::Host { provider: provider.to_owned(), host: Destination::of(self.what)?.host })
            }
            "provider" => {
                let folder = folder_of(project).join(self.what);
                let is_name = !self.what.is_empty() && !self.what.contains(['/', '\\', '.']);
                if !is_name || built_in(self.what).is_none() || !folder.is_dir() {
                    let message = format!("`{}` is not an extension that replaces a built-in provider", self.what);
                    return Err(Failure::new(Code::TrustUnknown, message).with_help(
                        "Only those in extensions/providers with the name of a built-in provider need consent.",
                    ));
                }
                let digest = folder_digest(&folder).map_err(|error| {
                    let message = format!("cannot read {}: {error}", folder.display());
                    Failure::new(Code::TrustUnknown, message).with_help("Check its permissions.")
                })?;
                Ok(Consent::Provider { provider: self.what.to_owned(), digest })
            }
            "import" => Ok(Consent::Import { path: outside(project, &here.join(self.what))? }),
            other => Err(Failure::new(Code::TrustKind, format!("`{other}` cannot be trusted"))
                .with_help(did_you_mean(other, KINDS, || format!("Say one of {}.", KINDS.join(", "))))),
        }
    }
}

/// Gives a consent, or takes it back. The audit log has it before the file does.
pub fn trust(
    project: &Path,
    env: &Environment,
    environment: Option<&str>,
    user: &str,
    consent: &Consent,
    given: bool,
) -> Result<Lock, Failure> {
    let mut lock = Lock::read(project)?;
    if given {
        lock.trust.add(consent);
    } else if !lock.trust.remove(consent) {
        return Err(
            Failure::new(Code::TrustUnknown, "there is no such consent").with_help("See `provision trust list`.")
        );
    }
    let store = Store::open_at(project, &location(&**env, environment)?)?;
    let lease = Lease::acquire(&store, user)?;
    let detail: Map = match serde_json::to_value(consent) {
        Ok(Json::Object(map)) => map,
        _ => Map::new(),
    };
    store.audit(&lease, if given { "trust.add" } else { "trust.remove" }, None, detail)?;
    store.checkpoint()?;
    lock.write(project)?;
    Ok(lock)
}

fn known(provider: &str, project: &Path, user_dir: Option<&Path>) -> Result<(), Failure> {
    let is_name = !provider.is_empty() && !provider.contains(['/', '\\', '.']);
    let places = [Some(folder_of(project)), user_dir.map(|dir| dir.join("providers"))];
    let there = || places.iter().flatten().any(|place| place.join(provider).is_dir());
    if is_name && (built_in(provider).is_some() || there()) {
        return Ok(());
    }
    Err(Failure::new(Code::ProviderUnknown, format!("there is no provider `{provider}`")).with_help(did_you_mean(
        provider,
        built_in_names(),
        || "See `provision provider list`.".to_owned(),
    )))
}

/// A path outside the project, links resolved, as the lock keeps it: relative to the project.
fn outside(project: &Path, path: &Path) -> Result<String, Failure> {
    let wrong = |why: String| {
        Failure::new(Code::TrustUnknown, format!("{} cannot be trusted: {why}", path.display()))
            .with_help("Name a file or a folder outside the project that is there.")
    };
    let target = path.canonicalize().map_err(|error| wrong(error.to_string()))?;
    let project = project.canonicalize().map_err(|error| wrong(error.to_string()))?;
    if target.starts_with(&project) {
        return Err(wrong("it is inside the project, where everything may be imported".to_owned()));
    }
    let common = project.components().zip(target.components()).take_while(|(a, b)| a == b).count();
    let up = project.components().skip(common).map(|_| Component::ParentDir);
    let path: PathBuf = up.chain(target.components().skip(common)).collect();
    Ok(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_trusted_must_be_there_and_be_what_it_is_called() {
        let base = tempfile::tempdir().unwrap();
        let project = base.path().join("project");
        for folder in ["project/extensions/providers/hetzner", "project/extensions/providers/acme", "shared/lib"] {
            std::fs::create_dir_all(base.path().join(folder)).unwrap();
        }
        let ask = |kind: &str, what: &str, provider: Option<&str>| {
            Wanted { kind, what, provider }.consent(&project, &project, None)
        };
        let host = Consent::Host { provider: "acme".into(), host: "https://a.example".into() };
        assert_eq!(ask("host", "https://a.example/v1", Some("acme")).unwrap(), host);
        assert_eq!(ask("import", "../shared/lib", None).unwrap(), Consent::Import { path: "../shared/lib".into() });
        assert!(matches!(ask("provider", "hetzner", None).unwrap(), Consent::Provider { .. }));
        for (kind, what, provider, code) in [
            ("host", "https://a.example", None, Code::TrustKind),
            ("host", "a.example", Some("acme"), Code::ConfigInvalid),
            ("host", "https://a.example", Some("acne"), Code::ProviderUnknown),
            ("provider", "acme", None, Code::TrustUnknown),
            ("provider", "../hetzner", None, Code::TrustUnknown),
            ("import", "extensions", None, Code::TrustUnknown),
            ("import", "../nothing", None, Code::TrustUnknown),
            ("imports", "x", None, Code::TrustKind),
        ] {
            let failure = ask(kind, what, provider).unwrap_err();
            assert_eq!(failure.code(), code, "{kind} {what}");
            assert!(failure.first.help.is_some());
        }
    }
}
