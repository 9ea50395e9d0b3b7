//! Owns the list of the commands about the state.

mod list;
mod show;
mod unprotect;

use crate::ProvisionPlugin;
use nu_plugin::PluginCommand;
use provision_nu_bridge::Kind;

/// Every `provision state` command.
pub fn all() -> Vec<Box<dyn PluginCommand<Plugin = ProvisionPlugin>>> {
    vec![Box::new(list::StateList), Box::new(show::StateShow), Box::new(unprotect::StateUnprotect)]
}

use super::{category, value};

/// The columns of a resource that are times.
const COLUMNS: &[(&str, Kind)] = &[("created_at", Kind::Date), ("updated_at", Kind::Date)];
