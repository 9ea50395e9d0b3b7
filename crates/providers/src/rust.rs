//! Owns the providers that are written in Rust: by name, how each is opened.

use crate::account::setting;
use crate::{Local, Opening, Outside, Provider};
use provision_diagnostic::{Code, Failure, did_you_mean};
use provision_model::Map;
use provision_registry::Manifest;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// An account of a provider that is written in Rust, as its constructor gets it.
pub struct Opened<'a> {
    /// The account's name under `providers`.
    pub account: &'a str,
    pub manifest: &'a Arc<Manifest>,
    pub(crate) settings: &'a Map,
    /// The region of resources that name none.
    pub region: Option<&'a str>,
    pub(crate) opening: &'a Opening<'a>,
}

impl<'a> Opened<'a> {
    /// A setting of the account: written out, or in an environment variable that it names. A variable that is not set is an
    /// error.
    pub fn setting(&self, name: &str) -> Result<Option<String>, Failure> {
        setting(self.settings, name, self.opening.env)
    }

    /// An environment variable of who asks.
    pub fn env(&self, name: &str) -> Option<String> {
        (self.opening.env)(name)
    }

    /// The project's folder, where relative paths begin.
    pub fn project(&self) -> &'a Path {
        self.opening.project
    }

    /// Clock and wire.
    pub fn outside(&self) -> &'a Outside {
        self.opening.outside
    }
}

type Constructor = dyn Fn(&Opened<'_>) -> Result<Arc<dyn Provider>, Failure> + Send + Sync;

/// The providers that are written in Rust, by the name that their manifests have. It begins with `local`.
#[derive(Clone)]
pub struct RustProviders {
    by_name: BTreeMap<String, Arc<Constructor>>,
}

impl Default for RustProviders {
    fn default() -> Self {
        Self { by_name: BTreeMap::new() }.with("local", |opened| Ok(Arc::new(Local::open(opened))))
    }
}

impl RustProviders {
    /// The same with one more; one of the same name is replaced.
    #[must_use]
    pub fn with(
        mut self,
        name: &str,
        open: impl Fn(&Opened<'_>) -> Result<Arc<dyn Provider>, Failure> + Send + Sync + 'static,
    ) -> Self {
        self.by_name.insert(name.to_owned(), Arc::new(open));
        self
    }

    /// Opens an account of the provider that its manifest names.
    pub(crate) fn open(&self, opened: &Opened<'_>) -> Result<Arc<dyn Provider>, Failure> {
        let name = opened.manifest.name.as_str();
        let Some(open) = self.by_name.get(name) else {
            let help = did_you_mean(name, self.by_name.keys().map(String::as_str), || {
                "Use a build of the plugin that has it, or the protocol `rest-json` or `ec2-query`.".to_owned()
            });
            let message = format!("the provider `{name}` says `rust`, and this build has no Rust type of that name");
            return Err(Failure::new(Code::ProviderManifest, message).with_help(help));
        };
        open(opened)
    }
}
