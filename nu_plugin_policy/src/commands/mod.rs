//! Owns the list of commands.

mod authorize;
mod check;
mod format;
mod from_cedar;
mod from_cedarschema;
mod list;
mod policy;
mod schema;
mod to_cedar;
mod to_cedarschema;

use crate::PolicyPlugin;
use nu_plugin::PluginCommand;

pub fn all() -> Vec<Box<dyn PluginCommand<Plugin = PolicyPlugin>>> {
    vec![
        Box::new(policy::PolicyCommand),
        Box::new(authorize::Authorize),
        Box::new(check::Check),
        Box::new(format::Format),
        Box::new(list::List),
        Box::new(schema::SchemaCommand),
        Box::new(from_cedar::FromCedar),
        Box::new(from_cedarschema::FromCedarschema),
        Box::new(to_cedar::ToCedar),
        Box::new(to_cedarschema::ToCedarschema),
    ]
}

/// The category all commands of the group are listed under.
pub fn category() -> nu_protocol::Category {
    nu_protocol::Category::Custom("policy".to_owned())
}
