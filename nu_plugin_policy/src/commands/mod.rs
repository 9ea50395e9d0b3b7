//! Owns the list of commands.

mod authorize;
mod check;
mod policy;
mod schema;

use crate::PolicyPlugin;
use nu_plugin::PluginCommand;

pub fn all() -> Vec<Box<dyn PluginCommand<Plugin = PolicyPlugin>>> {
    vec![
        Box::new(policy::PolicyCommand),
        Box::new(authorize::Authorize),
        Box::new(check::Check),
        Box::new(schema::SchemaCommand),
    ]
}

/// The category all commands of the group are listed under.
pub fn category() -> nu_protocol::Category {
    nu_protocol::Category::Custom("policy".to_owned())
}
