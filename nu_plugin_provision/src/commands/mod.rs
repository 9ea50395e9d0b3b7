//! Owns the list of commands and the shape of their rows.

mod apply;
mod approvals;
mod approve;
mod audit;
mod destroy;
mod drift;
mod graph;
mod group;
mod heal;
mod history;
mod import;
mod init;
mod lock;
mod output;
mod plan;
mod policy_accept;
mod provider;
mod provision;
mod recover;
mod refresh;
mod sandbox;
mod secret;
mod state;
mod trust;

use crate::ProvisionPlugin;
use nu_plugin::{EvaluatedCall, PluginCommand};
use nu_protocol::{Category, FromValue, LabeledError, PipelineData, Signals, Span, SyntaxShape, Value};
use provision_diagnostic::{Diagnostic, Failure};
use provision_nu_bridge::{Kind, labeled, row, shell, stream};
use serde::Serialize;

/// What a command does to anything besides itself: each has one of these among its search terms, so that people find it by
/// them and the tests know what to hold it to. This one looks, and keeps at most what it saw.
pub const READS: &str = "reads only";
/// Changes infrastructure, or what decides about it. The project's policies are asked, and can refuse it.
pub const ASKS: &str = "asks the policies";
/// Changes only what is the caller's own, the project's files or a sandbox, or ends what an allowed change began.
pub const OWN: &str = "changes its own";

/// Every command of the plugin.
pub fn all() -> Vec<Box<dyn PluginCommand<Plugin = ProvisionPlugin>>> {
    let mut all: Vec<Box<dyn PluginCommand<Plugin = ProvisionPlugin>>> = vec![
        Box::new(provision::Provision),
        Box::new(init::Init),
        Box::new(plan::Plan),
        Box::new(apply::Apply),
        Box::new(approve::Approve),
        Box::new(approvals::Approvals),
        Box::new(destroy::Destroy),
        Box::new(output::Output),
        Box::new(recover::Recover),
        Box::new(refresh::Refresh),
        Box::new(drift::Drift),
        Box::new(heal::Heal),
        Box::new(import::Import),
        Box::new(graph::Graph),
        Box::new(policy_accept::PolicyAccept),
    ];
    all.extend(group::all());
    all.extend(provider::all());
    all.extend(state::all());
    all.extend(sandbox::all());
    all.extend(secret::all());
    all.extend(history::all());
    all.extend(audit::all());
    all.extend(lock::all());
    all.extend(trust::all());
    all
}

fn category() -> Category {
    Category::Custom("provision".into())
}

/// A domain value as a Nushell value; the named columns get their types.
fn value(item: &impl Serialize, span: Span, columns: &[(&str, Kind)]) -> Value {
    match serde_json::to_value(item) {
        Ok(json) => row(&json, span, columns),
        Err(error) => {
            Value::error(nu_protocol::ShellError::from(nu_protocol::LabeledError::new(error.to_string())), span)
        }
    }
}

/// Rows, and after them what kept the command from telling more: they are not all there is.
fn table(rows: Vec<Value>, problems: Vec<Diagnostic>, span: Span, doing: &str) -> Result<PipelineData, LabeledError> {
    match Failure::check(problems) {
        Ok(()) => Ok(PipelineData::value(Value::list(rows, span), None)),
        Err(failure) if rows.is_empty() => Err(labeled(&failure, span, doing)),
        Err(failure) => {
            let error = Value::error(shell(&failure, span, doing), span);
            Ok(stream(rows.into_iter().chain([error]), span, Signals::empty()))
        }
    }
}

/// The shape of a flag that takes one text or several.
fn texts_shape() -> SyntaxShape {
    SyntaxShape::OneOf(vec![SyntaxShape::List(Box::new(SyntaxShape::String)), SyntaxShape::String])
}

/// What a flag of that shape gives, where it is there.
fn texts(call: &EvaluatedCall, flag: &str) -> Result<Option<Vec<String>>, LabeledError> {
    Ok(match call.get_flag_value(flag) {
        None => None,
        Some(Value::String { val, .. }) => Some(vec![val]),
        Some(list) => Some(Vec::<String>::from_value(list)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_says_what_it_does_and_shows_it() {
        for command in all() {
            let name = command.name();
            assert!(command.description().ends_with('.'), "{name}");
            let effects = command.search_terms().into_iter().filter(|term| [READS, ASKS, OWN].contains(term)).count();
            assert_eq!(effects, 1, "{name}: give it one of READS, ASKS and OWN among its search terms");
            assert!(!command.examples().is_empty(), "{name}");
        }
    }
}
