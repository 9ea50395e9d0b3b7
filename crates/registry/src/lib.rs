//! Owns the provider manifests in force: built in, the user's and the project's, and what is generated from them: the
//! `provision.ncl` that user files import, and the Cedar schema that policies are checked against.
//!
//! Knows Nickel and the model; must not know Nushell, HTTP or SQL.

mod api;
mod cedar;
mod door;
mod files;
mod imports;
mod installed;
mod lint;
mod manifest;
mod manifest_contract;
mod module;
mod pack;
mod shown;
mod step;
mod trust;
mod warm;

pub use manifest::{
    ActionPolling, Auth, Credential, Endpoint, EndpointVariable, ErrorRules, FilterSpec, GoneWhen, HostSpec, Listing,
    LookupSpec, Manifest, Pagination, PartOf, Protocol, RateLimit, Region, Setting, StatusSpec, TypeSpec, pascal,
    path_steps, time_of,
};

pub use api::ENGINE_API;
pub use files::write_durably;
pub use imports::{allowed_imports, real};
pub use installed::{Lock, Origin, Pin, Provider, folder_digest};
pub use lint::{Linted, elements, lint, located};
pub use module::{Module, PROJECT, Schemas, attach, check_module, given};
pub use pack::{Candidate, add, folder_of, open, remove, repin};
pub use shown::{FieldRow, TypeRow, field_rows, type_rows};
pub use step::{Call, Collection, Foreign, StepSpec, Takes};
pub use trust::{Consent, Destination, Trust};
pub use warm::Warm;

use indexmap::IndexMap;
use provision_diagnostic::Code;
use provision_diagnostic::{Diagnostic, Failure, Severity, did_you_mean, nearest};
use provision_nickel::{Evaluator, Library, Request, Source};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the codes of a manifest's faults are about.
const PROVIDER: &str = "provision::provider";

/// The file of a folder that describes a provider.
pub const MANIFEST: &str = "manifest.ncl";
const INFRASTRUCTURE: &str = include_str!("../../../schemas/infrastructure.ncl");
const BUILT_IN: &[(&str, &str)] = &[
    ("hetzner", include_str!("../../../extensions/providers/hetzner/manifest.ncl")),
    ("upcloud", include_str!("../../../extensions/providers/upcloud/manifest.ncl")),
    ("aws", include_str!("../../../extensions/providers/aws/manifest.ncl")),
    ("local", include_str!("../../../extensions/providers/local/manifest.ncl")),
];

/// The manifests in force.
#[derive(Debug, Clone)]
pub struct Registry {
    manifests: IndexMap<String, Arc<Manifest>>,
    providers: IndexMap<String, Provider>,
    library: Arc<Library>,
    /// What was read and its digest, for who keeps a registry warm.
    inputs: Vec<(PathBuf, Option<String>)>,
}

impl Registry {
    /// Loads the built-in manifests, then those under `<user_dir>/providers/*`, then those under
    /// `<project>/extensions/providers/*`, each a `manifest.ncl` or a Nushell module `mod.nu`; a later one of the same name replaces an earlier one. Those of
    /// the project must be what its `provision.lock` pins.
    pub fn load(project: Option<&Path>, user_dir: Option<&Path>, evaluator: &Evaluator) -> Result<Registry, Failure> {
        Self::load_with(project, user_dir, evaluator, &Schemas::default())
    }

    /// The same with what modules said before.
    pub fn load_with(
        project: Option<&Path>,
        user_dir: Option<&Path>,
        evaluator: &Evaluator,
        schemas: &Schemas,
    ) -> Result<Registry, Failure> {
        let mut manifests = IndexMap::new();
        let mut providers = IndexMap::new();
        for (name, _) in BUILT_IN {
            if let Some(source) = built_in(name) {
                let manifest = read_manifest(source, name, evaluator)?;
                let about = Provider { origin: Origin::BuiltIn, folder: None, digest: None, pinned: false };
                providers.insert(manifest.name.clone(), about);
                manifests.insert(manifest.name.clone(), Arc::new(manifest));
            }
        }
        let inputs = inputs(project, user_dir);
        let lock = project.map(Lock::read).transpose()?.unwrap_or_default();
        for (origin, folder) in folders(project, user_dir) {
            let digest = folder_digest(&folder).map_err(|error| {
                Failure::new(Code::ProviderManifest, format!("cannot read {}: {error}", folder.display()))
            })?;
            let file = folder.join(MANIFEST);
            let manifest = match file.is_file() {
                true => {
                    let shown = file.display().to_string();
                    let mut manifest = read_manifest(Source::File(file), &shown, evaluator)?;
                    module::attach(&mut manifest, &folder)?;
                    manifest
                }
                false => module::read(&folder, &digest, evaluator, schemas)?,
            };
            if origin == Origin::Project {
                is_no_stranger(&lock, &manifest.name, &digest)?;
            }
            let pinned = origin == Origin::Project && lock.verify(&manifest.name, &manifest.version, &digest)?;
            let about = Provider { origin, folder: Some(folder), digest: Some(digest), pinned };
            providers.insert(manifest.name.clone(), about);
            manifests.insert(manifest.name.clone(), Arc::new(manifest));
        }
        lock.all_there(|name| providers.get(name).is_some_and(|about| about.origin == Origin::Project))?;
        let library = library(&manifests);
        Ok(Registry { manifests, providers, library, inputs })
    }

    /// The same with providers that are there for one session; one of the same name stands back.
    pub fn with(&self, given: Vec<Manifest>) -> Registry {
        let mut more = self.clone();
        for manifest in given {
            let about = Provider { origin: Origin::Session, folder: None, digest: None, pinned: false };
            more.providers.insert(manifest.name.clone(), about);
            more.manifests.insert(manifest.name.clone(), Arc::new(manifest));
        }
        more.library = library(&more.manifests);
        more
    }

    /// Whether the files on disk are those that were loaded.
    pub fn is_current(&self, project: Option<&Path>, user_dir: Option<&Path>) -> bool {
        inputs(project, user_dir) == self.inputs
    }

    /// What is known of a provider besides its manifest.
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.get(name)
    }

    /// Writes what Nickel files import from memory into a folder, for editors and the official command.
    pub fn write_schemas(&self, folder: &Path) -> std::io::Result<Vec<PathBuf>> {
        std::fs::create_dir_all(folder)?;
        let mut written = Vec::new();
        for (name, text) in &self.library.files {
            let file = folder.join(name);
            write_durably(&file, text.as_bytes())?;
            written.push(file);
        }
        Ok(written)
    }

    /// What Nickel files may import from memory.
    pub fn library(&self) -> Arc<Library> {
        self.library.clone()
    }

    /// The manifests, in the order they were loaded.
    pub fn manifests(&self) -> impl Iterator<Item = &Arc<Manifest>> {
        self.manifests.values()
    }

    /// The manifest of a provider.
    pub fn manifest(&self, name: &str) -> Option<&Arc<Manifest>> {
        self.manifests.get(name)
    }

    /// The type `hetzner.server`; the error names the nearest known one.
    pub fn type_of(&self, kind: &str) -> Result<(&Arc<Manifest>, &TypeSpec), Failure> {
        let (provider, name) = kind.split_once('.').unwrap_or((kind, ""));
        let Some(manifest) = self.manifests.get(provider) else {
            return Err(Failure::new(Code::ProviderUnknown, format!("there is no provider `{provider}`")).with_help(
                did_you_mean(provider, self.manifests.keys().map(String::as_str), || {
                    let all = self.manifests.keys().cloned().collect::<Vec<_>>().join(", ");
                    format!(
                        "Installed: {all}. One of a session is given with `--provider {{{provider}: …}}` each time."
                    )
                }),
            ));
        };
        let Some(spec) = manifest.types.get(name) else {
            let near = nearest(name, manifest.types.keys().map(String::as_str));
            return Err(Failure::new(Code::PlanUnknownType, format!("{provider} has no type `{name}`")).with_help(
                near.map_or_else(
                    || format!("Its types are {}.", manifest.types.keys().cloned().collect::<Vec<_>>().join(", ")),
                    |near| format!("Did you mean `{provider}.{near}`?"),
                ),
            ));
        };
        Ok((manifest, spec))
    }

    /// The Cedar schema of everything a policy may speak about, in Cedar's own syntax.
    pub fn cedar_schema(&self) -> String {
        cedar::schema(self.manifests.values().map(AsRef::as_ref))
    }
}

/// The names of the built-in providers.
pub fn built_in_names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// The manifest of a built-in provider.
pub fn built_in(name: &str) -> Option<Source> {
    let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
    Some(Source::Text {
        name: format!("extensions/providers/{name}/manifest.ncl"),
        folder: PathBuf::from("/"),
        text: (*text).to_owned(),
    })
}

/// What user files import.
fn library(manifests: &IndexMap<String, Arc<Manifest>>) -> Arc<Library> {
    let files = BTreeMap::from([
        ("infrastructure.ncl".to_owned(), INFRASTRUCTURE.to_owned()),
        (manifest_contract::NAME.to_owned(), manifest_contract::TEXT.to_owned()),
        ("provision.ncl".to_owned(), door::generate(manifests.values().map(AsRef::as_ref))),
    ]);
    Arc::new(Library { files })
}

/// Refuses an extension of the project that takes the place of a built-in provider, and so its credentials, without consent.
fn is_no_stranger(lock: &Lock, name: &str, digest: &str) -> Result<(), Failure> {
    if built_in(name).is_none() || lock.trust.allows_provider(name, digest) {
        return Ok(());
    }
    let message = match lock.trust.providers.contains_key(name) {
        true => format!("the extension `{name}`, which replaces the built-in provider, is not the one that is trusted"),
        false => format!("the extension `{name}` would replace the built-in provider and get its credentials"),
    };
    Err(Failure::new(Code::ProviderUntrusted, message).with_help(format!(
        "Read extensions/providers/{name}, then run `provision trust add provider {name}`; or remove the folder."
    )))
}

/// The folders with a manifest or a module, in the order in which one replaces another.
fn folders(project: Option<&Path>, user_dir: Option<&Path>) -> Vec<(Origin, PathBuf)> {
    let places =
        [(Origin::User, user_dir.map(|dir| dir.join("providers"))), (Origin::Project, project.map(pack::folder_of))];
    let mut found = Vec::new();
    for (origin, place) in places {
        let Some(entries) = place.and_then(|place| std::fs::read_dir(place).ok()) else { continue };
        let mut here: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
            .map(|entry| entry.path())
            .filter(|folder| [MANIFEST, module::FILE].iter().any(|name| folder.join(name).is_file()))
            .collect();
        here.sort();
        found.extend(here.into_iter().map(|folder| (origin, folder)));
    }
    found
}

/// Everything that is read from disk, with its digest.
fn inputs(project: Option<&Path>, user_dir: Option<&Path>) -> Vec<(PathBuf, Option<String>)> {
    let mut all: Vec<(PathBuf, Option<String>)> = folders(project, user_dir)
        .into_iter()
        .map(|(_, folder)| (folder.clone(), folder_digest(&folder).ok()))
        .collect();
    if let Some(lock) = project.map(|project| project.join(installed::LOCK)) {
        let digest = std::fs::read(&lock).ok().map(|bytes| installed::sha256(&bytes));
        all.push((lock, digest));
    }
    all
}

fn read_manifest(source: Source, shown: &str, evaluator: &Evaluator) -> Result<Manifest, Failure> {
    // Those that come with the engine are looked at by its own tests.
    if matches!(source, Source::Text { .. }) {
        let request = Request { sources: vec![source], ..Request::default() };
        let evaluated = evaluator.eval(&request)?;
        return Manifest::read(&evaluated.value).map_err(|error| {
            Failure::new(Code::ProviderManifest, format!("the manifest {shown} is not valid: {error}"))
                .with_help("See docs/manifest.md for the shape of a manifest.")
        });
    }
    let as_manifest = |mut failure: Failure| {
        // The position is the manifest's; the code says that a manifest is at fault, not the user's own file.
        failure.first.code = Code::ProviderManifest;
        failure
    };
    let linted = lint(source, evaluator, None).map_err(as_manifest)?;
    // What it cannot work with; the rest is for `provision provider check`.
    let stops = |one: &Diagnostic| {
        let ours = [Code::ProviderManifest, Code::ProviderUnknownKey, Code::ProviderUnknownField, Code::ProviderApi];
        one.severity == Severity::Error && (one.code.area() != PROVIDER || ours.contains(&one.code))
    };
    let wrong: Vec<Diagnostic> = linted.diagnostics.into_iter().filter(stops).collect();
    Failure::check(wrong).map_err(|mut failure| {
        if failure.first.code.area() != PROVIDER {
            failure = as_manifest(failure);
        }
        failure
    })?;
    linted.manifest.ok_or_else(|| {
        Failure::new(Code::ProviderManifest, format!("the manifest {shown} is not valid"))
            .with_help("Run `provision provider check` on it.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        Registry::load(None, None, &Evaluator::new(provision_nickel::Options::default())).unwrap()
    }

    #[test]
    fn built_in_manifests_load_and_name_their_types() {
        let registry = registry();
        let kinds: Vec<String> = registry
            .manifests()
            .flat_map(|manifest| manifest.types.keys().map(|name| format!("{}.{name}", manifest.name)))
            .collect();
        for kind in ["hetzner.server", "hetzner.load_balancer", "upcloud.router", "aws.route_table", "local.data"] {
            assert!(kinds.iter().any(|known| known == kind), "{kind} is not in {kinds:?}");
        }
        let error = registry.type_of("hetzner.servr").unwrap_err();
        assert_eq!(error.first.help.as_deref(), Some("Did you mean `hetzner.server`?"));
    }

    #[test]
    fn the_door_evaluates_and_its_contracts_bite() {
        let registry = registry();
        let evaluator = Evaluator::new(provision_nickel::Options::default());
        let eval = |text: &str| {
            evaluator.eval(&Request {
                sources: vec![Source::Text { name: "t.ncl".into(), folder: "/".into(), text: text.into() }],
                library: Some(registry.library()),
                ..Request::default()
            })
        };
        let good = eval(
            r#"let p = import "provision.ncl" in { name = "s", resources = {
                net = p.hetzner.network & { ip_range = "10.0.0.0/16" },
                web = p.hetzner.server & { server_type = "cx23", image = "debian-12", networks = [p.ref "net" "id"] },
                pool = p.each ["a"] (fun key => p.upcloud.server & { zone = "fi-hel1", plan = "1xCPU-1GB" }),
            } } | p.Infrastructure"#,
        )
        .unwrap();
        assert_eq!(good.value["resources"]["web"]["$type"], "hetzner.server");
        assert_eq!(good.value["resources"]["pool"][0]["$key"], "a");
        let bad = eval(r#"let p = import "provision.ncl" in { resources.web = p.hetzner.server & { server_type = "x", image = 3 } }"#)
            .unwrap_err();
        assert_eq!(bad.code(), Code::NickelEvalContract);
        assert_eq!(bad.first.position.as_ref().unwrap().file, "t.ncl");
    }

    #[test]
    fn the_cedar_schema_has_every_type() {
        let schema = registry().cedar_schema();
        for name in ["namespace Hetzner", "entity Server", "entity SecurityGroup", "action \"create\""] {
            assert!(schema.contains(name), "{name} in\n{schema}");
        }
    }
}
