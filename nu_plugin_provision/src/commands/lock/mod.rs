//! Owns the list of the commands about the lease.

mod release;
mod show;

use crate::ProvisionPlugin;
use nu_plugin::PluginCommand;
use provision_nu_bridge::Kind;

/// Every `provision lock` command.
pub fn all() -> Vec<Box<dyn PluginCommand<Plugin = ProvisionPlugin>>> {
    vec![Box::new(show::LockShow), Box::new(release::LockBreak)]
}

use super::{category, value};

/// The columns of a lease that are times.
const COLUMNS: &[(&str, Kind)] = &[("since", Kind::Date), ("expires", Kind::Date)];
