//! Owns consent to testing a provider against a cloud.

use crate::commands::Session;
use crate::configuration::reading::{Input, standing};
use crate::policy::alone::noted;
use crate::policy::gate::{asked_of_project, open_gate};
use crate::workspace::acquire;
use provision_diagnostic::Failure;
use provision_model::{Json, Map};

impl Session {
    /// Asks the project's policies whether a provider may be tested against a cloud, where it makes and deletes real
    /// resources, and writes down that it is.
    pub fn may_test_provider(&self, provider: &str, types: &[String], endpoint: &str) -> Result<(), Failure> {
        let config = standing(&self.workspace, &Input::Project)?.config;
        let lease = acquire(&self.workspace, &self.actor)?;
        let gate = open_gate(&self.workspace, &self.actor, config.policies.as_deref(), Some(&lease))?;
        // A name and password before the host are nobody's business.
        let host = endpoint.rsplit_once('@').map_or(endpoint, |(_, host)| host);
        let what = format!("`{provider}` at {host}");
        let answer = asked_of_project(&self.workspace, &self.actor, &gate, &config.name, "test_provider", &what);
        noted(&self.workspace, &lease, "test_provider", None, answer)?;
        let mut detail = Map::new();
        detail.insert("provider".into(), Json::from(provider));
        detail.insert("endpoint".into(), Json::from(host));
        detail.insert("types".into(), serde_json::json!(types));
        self.workspace.store.audit(&lease, "test_provider", None, detail)?;
        self.workspace.store.checkpoint()
    }
}
