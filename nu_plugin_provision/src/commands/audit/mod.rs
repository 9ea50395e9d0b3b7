//! Owns the list of the commands about the audit log.

mod head;
mod list;
mod verify;

use crate::ProvisionPlugin;
use nu_plugin::PluginCommand;

/// Every `provision audit` command.
pub fn all() -> Vec<Box<dyn PluginCommand<Plugin = ProvisionPlugin>>> {
    vec![Box::new(list::Audit), Box::new(verify::AuditVerify), Box::new(head::AuditHead)]
}

use super::{category, value};
