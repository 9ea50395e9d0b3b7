//! Owns the provider manifests in force: built in, the user's and the project's, and what is generated from them: the
//! `provision.ncl` that user files import, and the Cedar schema that policies are checked against.
//!
//! Knows Nickel and the model; must not know Nushell, HTTP or SQL.

mod cedar;
mod door;
mod manifest;
mod warm;

pub use manifest::{
    ActionPolling, Auth, Call, Collection, Credential, Endpoint, EndpointVariable, ErrorRules, Manifest, Pagination,
    Protocol, RateLimit, Region, StatusSpec, StepSpec, TypeSpec, pascal,
};

pub use warm::Warm;

use indexmap::IndexMap;
use provision_diagnostic::{Failure, nearest};
use provision_nickel::{Evaluator, Library, Request, Source};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The engine API that manifests ask for in `api`.
pub const ENGINE_API: &str = "1";

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
    library: Arc<Library>,
    /// Digests of every manifest file that was read, for who keeps a registry warm.
    pub inputs: Vec<(PathBuf, String)>,
}

impl Registry {
    /// Loads the built-in manifests, then those under `<user_dir>/providers/*/manifest.ncl`, then those under
    /// `<project>/extensions/providers/*/manifest.ncl`; a later one of the same name replaces an earlier one.
    pub fn load(project: Option<&Path>, user_dir: Option<&Path>, evaluator: &Evaluator) -> Result<Registry, Failure> {
        let mut manifests = IndexMap::new();
        for (name, text) in BUILT_IN {
            let source = Source::Text {
                name: format!("extensions/providers/{name}/manifest.ncl"),
                folder: PathBuf::from("/"),
                text: (*text).to_owned(),
            };
            let manifest = read_manifest(source, name, evaluator)?;
            manifests.insert(manifest.name.clone(), Arc::new(manifest));
        }
        let mut inputs = Vec::new();
        for file in manifest_files(project, user_dir) {
            let shown = file.display().to_string();
            let text = std::fs::read(&file).map_err(|error| {
                Failure::new("provision::provider::manifest", format!("cannot read the manifest {shown}: {error}"))
            })?;
            inputs.push((file.clone(), provision_model::short_hash(&String::from_utf8_lossy(&text), 52)));
            let manifest = read_manifest(Source::File(file), &shown, evaluator)?;
            manifests.insert(manifest.name.clone(), Arc::new(manifest));
        }
        let library = Arc::new(Library {
            files: BTreeMap::from([
                ("infrastructure.ncl".to_owned(), INFRASTRUCTURE.to_owned()),
                ("provision.ncl".to_owned(), door::generate(manifests.values().map(AsRef::as_ref))),
            ]),
        });
        Ok(Registry { manifests, library, inputs })
    }

    /// Whether the files on disk are those that were loaded.
    pub fn is_current(&self, project: Option<&Path>, user_dir: Option<&Path>) -> bool {
        let files = manifest_files(project, user_dir);
        files.len() == self.inputs.len()
            && files.iter().zip(&self.inputs).all(|(file, (known, digest))| {
                file == known
                    && std::fs::read(file)
                        .is_ok_and(|text| provision_model::short_hash(&String::from_utf8_lossy(&text), 52) == *digest)
            })
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
            let near = nearest(provider, self.manifests.keys().map(String::as_str));
            return Err(Failure::new("provision::provider::unknown", format!("there is no provider `{provider}`"))
                .with_help(near.map_or_else(
                    || format!("Installed: {}.", self.manifests.keys().cloned().collect::<Vec<_>>().join(", ")),
                    |near| format!("Did you mean `{near}`?"),
                )));
        };
        let Some(spec) = manifest.types.get(name) else {
            let near = nearest(name, manifest.types.keys().map(String::as_str));
            return Err(Failure::new("provision::plan::unknown_type", format!("{provider} has no type `{name}`"))
                .with_help(near.map_or_else(
                    || format!("Its types are {}.", manifest.types.keys().cloned().collect::<Vec<_>>().join(", ")),
                    |near| format!("Did you mean `{provider}.{near}`?"),
                )));
        };
        Ok((manifest, spec))
    }

    /// The Cedar schema of everything a policy may speak about, in Cedar's own syntax.
    pub fn cedar_schema(&self) -> String {
        cedar::schema(self.manifests.values().map(AsRef::as_ref))
    }
}

fn manifest_files(project: Option<&Path>, user_dir: Option<&Path>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let folders = [user_dir.map(|dir| dir.join("providers")), project.map(|dir| dir.join("extensions/providers"))];
    for folder in folders.into_iter().flatten() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        let mut found: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.path().join("manifest.ncl"))
            .filter(|path| path.is_file())
            .collect();
        found.sort();
        files.extend(found);
    }
    files
}

fn read_manifest(source: Source, shown: &str, evaluator: &Evaluator) -> Result<Manifest, Failure> {
    let request = Request { sources: vec![source], ..Request::default() };
    let evaluated = evaluator.eval(&request).map_err(|mut failure| {
        // The position is the manifest's; the code says that a manifest is at fault, not the user's own file.
        failure.first.code = "provision::provider::manifest".to_owned();
        failure
    })?;
    let manifest: Manifest = serde_json::from_value(evaluated.value.clone()).map_err(|error| {
        Failure::new("provision::provider::manifest", format!("the manifest {shown} is not valid: {error}"))
            .with_help("See docs/manifest.md for the shape of a manifest.")
    })?;
    if manifest.api.split('.').next() != Some(ENGINE_API) {
        return Err(Failure::new(
            "provision::provider::manifest",
            format!("the manifest {shown} needs engine API {}, this engine has {ENGINE_API}", manifest.api),
        )
        .with_help("Use a version of the extension made for this engine."));
    }
    door::check_names(&manifest, shown)?;
    Ok(manifest)
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
        assert_eq!(
            kinds,
            [
                "hetzner.firewall",
                "hetzner.network",
                "hetzner.server",
                "hetzner.ssh_key",
                "upcloud.network",
                "upcloud.server",
                "upcloud.storage",
                "aws.instance",
                "aws.key_pair",
                "aws.security_group",
                "aws.subnet",
                "aws.vpc",
                "local.data",
            ]
        );
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
                web = p.hetzner.server & { server_type = "cx22", image = "debian-12", networks = [p.ref "net" "id"] },
                pool = p.each ["a"] (fun key => p.upcloud.server & { zone = "fi-hel1", plan = "1xCPU-1GB" }),
            } } | p.Infrastructure"#,
        )
        .unwrap();
        assert_eq!(good.value["resources"]["web"]["$type"], "hetzner.server");
        assert_eq!(good.value["resources"]["pool"][0]["$key"], "a");
        let bad = eval(r#"let p = import "provision.ncl" in { resources.web = p.hetzner.server & { server_type = "x", image = 3 } }"#)
            .unwrap_err();
        assert_eq!(bad.code(), "nickel::eval::contract");
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
