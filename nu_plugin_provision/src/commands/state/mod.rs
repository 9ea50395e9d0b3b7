//! Owns the list of the commands about the state.

mod adopt_project;
mod backup;
mod backups;
mod export;
mod forget;
mod import;
mod list;
mod rekey;
mod rename;
mod replace;
mod restore;
mod show;
mod unprotect;

use crate::ProvisionPlugin;
use nu_plugin::PluginCommand;
use provision_nu_bridge::Kind;

/// Every `provision state` command.
pub fn all() -> Vec<Box<dyn PluginCommand<Plugin = ProvisionPlugin>>> {
    vec![
        Box::new(list::StateList),
        Box::new(show::StateShow),
        Box::new(rename::StateMove),
        Box::new(forget::StateForget),
        Box::new(replace::StateReplace),
        Box::new(unprotect::StateUnprotect),
        Box::new(adopt_project::StateAdoptProject),
        Box::new(rekey::StateRekey),
        Box::new(export::StateExport),
        Box::new(import::StateImport),
        Box::new(backup::StateBackup),
        Box::new(backups::StateBackups),
        Box::new(restore::StateRestore),
    ]
}

use super::{category, value};

/// The columns of a resource that are times.
const COLUMNS: &[(&str, Kind)] = &[("created_at", Kind::Date), ("updated_at", Kind::Date)];

/// The columns of a backup that are more than text and numbers.
const BACKUP: &[(&str, Kind)] = &[("at", Kind::Date), ("bytes", Kind::Filesize)];
