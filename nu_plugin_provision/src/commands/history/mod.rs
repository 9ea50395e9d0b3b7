//! Owns the list of the commands about the history.

mod list;
mod rollback;
mod show;

use crate::ProvisionPlugin;
use nu_plugin::PluginCommand;
use provision_nu_bridge::Kind;

/// Every command about the history.
pub fn all() -> Vec<Box<dyn PluginCommand<Plugin = ProvisionPlugin>>> {
    vec![Box::new(list::History), Box::new(show::HistoryShow), Box::new(rollback::Rollback)]
}

use super::{category, value};

/// The columns of a change that are times.
const COLUMNS: &[(&str, Kind)] = &[("at", Kind::Date), ("ended_at", Kind::Date)];
