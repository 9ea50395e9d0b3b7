//! Owns the list of commands.

mod check;
mod eval;
mod from_ncl;
mod nickel;

use crate::NickelPlugin;
use nu_plugin::PluginCommand;

pub fn all() -> Vec<Box<dyn PluginCommand<Plugin = NickelPlugin>>> {
    vec![Box::new(nickel::NickelCommand), Box::new(check::Check), Box::new(eval::Eval), Box::new(from_ncl::FromNcl)]
}

/// The category all commands of the group are listed under.
pub fn category() -> nu_protocol::Category {
    nu_protocol::Category::Custom("nickel".to_owned())
}
