//! Owns completing field paths from the file that is being typed about.

use crate::NickelPlugin;
use nu_plugin::{DynamicCompletionCall, EngineInterface};
use nu_protocol::DynamicSuggestion;
use nu_protocol::ast::{Argument, Expr};
use nu_protocol::engine::ArgType;
use provision_nickel::Request;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A completion that takes longer is not worth waiting for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Suggestions for `--field`, from the first file of the call; nested after each dot.
pub fn fields(
    plugin: &NickelPlugin,
    engine: &EngineInterface,
    call: &DynamicCompletionCall,
    arg_type: &ArgType<'_>,
) -> Option<Vec<DynamicSuggestion>> {
    match arg_type {
        ArgType::Flag(name) if name == "field" => {}
        _ => return None,
    }
    let positional = call.call.arguments.iter().find_map(|argument| match argument {
        Argument::Positional(expression) | Argument::Unknown(expression) => text(&expression.expr),
        _ => None,
    })?;
    let typed = call.call.arguments.iter().find_map(|argument| match argument {
        Argument::Named((name, _, Some(expression))) if name.item == "field" || name.item == "f" => {
            text(&expression.expr)
        }
        _ => None,
    });
    let mut typed = typed.unwrap_or_default();
    if call.strip {
        // A letter stands for the cursor.
        typed.pop();
    }
    let above = typed.rsplit_once('.').map(|(above, _)| above.to_owned());
    let file = PathBuf::from(engine.get_current_dir().ok()?).join(positional);
    let late = Arc::new(AtomicBool::new(false));
    let clock = late.clone();
    std::thread::spawn(move || {
        std::thread::sleep(PATIENCE);
        clock.store(true, Ordering::Relaxed);
    });
    let request = Request { field: above.clone(), interrupt: Some(late), ..Request::file(file) };
    let names = plugin.evaluator.fields(&request).ok()?;
    let suggestion = |name: String| {
        let plain = name.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-'));
        plain.then(|| DynamicSuggestion {
            value: above.as_ref().map_or_else(|| name.clone(), |above| format!("{above}.{name}")),
            append_whitespace: false,
            ..DynamicSuggestion::default()
        })
    };
    Some(names.into_iter().filter_map(suggestion).collect())
}

fn text(expression: &Expr) -> Option<String> {
    match expression {
        Expr::String(text) | Expr::RawString(text) => Some(text.clone()),
        Expr::Filepath(text, _) | Expr::GlobPattern(text, _) => Some(text.clone()),
        _ => None,
    }
}
