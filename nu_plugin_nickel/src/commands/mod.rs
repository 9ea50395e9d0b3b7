//! Owns the list of commands.

mod call;
mod check;
mod deps;
mod doc;
mod eval;
mod export;
mod format;
mod from_ncl;
mod nickel;
mod query;
mod test;
mod to_ncl;
mod validate;

use crate::NickelPlugin;
use nu_plugin::PluginCommand;

pub fn all() -> Vec<Box<dyn PluginCommand<Plugin = NickelPlugin>>> {
    vec![
        Box::new(nickel::NickelCommand),
        Box::new(call::Call),
        Box::new(check::Check),
        Box::new(deps::Deps),
        Box::new(doc::Doc),
        Box::new(eval::Eval),
        Box::new(export::Export),
        Box::new(format::Format),
        Box::new(query::Query),
        Box::new(test::Test),
        Box::new(validate::Validate),
        Box::new(from_ncl::FromNcl),
        Box::new(to_ncl::ToNcl),
    ]
}

/// The category all commands of the group are listed under.
pub fn category() -> nu_protocol::Category {
    nu_protocol::Category::Custom("nickel".to_owned())
}

/// The method that completes `--field` from the file of the call.
macro_rules! completes_fields {
    () => {
        #[expect(deprecated, reason = "Nushell marks its completion interface as experimental in this way")]
        fn get_dynamic_completion(
            &self,
            plugin: &NickelPlugin,
            engine: &EngineInterface,
            call: nu_plugin::DynamicCompletionCall,
            arg_type: nu_protocol::engine::ArgType<'_>,
            _experimental: nu_protocol::engine::ExperimentalMarker,
        ) -> Option<Vec<nu_protocol::DynamicSuggestion>> {
            crate::complete::fields(plugin, engine, &call, &arg_type)
        }
    };
}
pub(crate) use completes_fields;
