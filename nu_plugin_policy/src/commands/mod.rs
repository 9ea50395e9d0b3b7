//! Owns the list of commands.

mod analyze;
mod authorize;
mod check;
mod diff;
mod explain;
mod format;
mod from_cedar;
mod from_cedarschema;
mod link;
mod list;
mod policy;
mod query;
mod schema;
mod test;
mod to_cedar;
mod to_cedarschema;

use crate::PolicyPlugin;
use nu_plugin::PluginCommand;

pub fn all() -> Vec<Box<dyn PluginCommand<Plugin = PolicyPlugin>>> {
    vec![
        Box::new(policy::PolicyCommand),
        Box::new(analyze::Analyze),
        Box::new(authorize::Authorize),
        Box::new(check::Check),
        Box::new(diff::Diff),
        Box::new(explain::Explain),
        Box::new(format::Format),
        Box::new(link::Link),
        Box::new(list::List),
        Box::new(query::Query),
        Box::new(schema::SchemaCommand),
        Box::new(test::Test),
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
