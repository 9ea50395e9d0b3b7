//! Owns the settings in `$env.config.plugins.nickel`.

use crate::NickelPlugin;
use nu_plugin::EngineInterface;
use nu_protocol::{LabeledError, Span, Value};
use provision_diagnostic::{Code, did_you_mean};
use provision_nickel::Options;
use std::time::Duration;

/// The settings there are, in the order of the guide.
const SETTINGS: [&str; 3] = ["memory_limit", "time_limit", "cache_size"];

/// Makes the evaluator use the settings in force.
pub fn apply(plugin: &NickelPlugin, engine: &EngineInterface) -> Result<(), LabeledError> {
    let options = match engine.get_plugin_config()? {
        None | Some(Value::Nothing { .. }) => Options::default(),
        Some(config) => read(&config)?,
    };
    plugin.evaluator.configure(options);
    Ok(())
}

fn read(config: &Value) -> Result<Options, LabeledError> {
    let mut options = Options::default();
    let record = config.as_record()?;
    for (name, value) in record {
        let span = value.span();
        match (name.as_str(), value) {
            ("memory_limit", Value::Filesize { val, .. }) => options.memory_limit = Some(size(val.get(), name, span)?),
            ("cache_size", Value::Filesize { val, .. }) => {
                options.cache_bytes = usize::try_from(size(val.get(), name, span)?).unwrap_or(usize::MAX);
            }
            ("time_limit", Value::Duration { val, .. }) => {
                let nanos = u64::try_from(*val).map_err(|_| wrong(name, "not be negative", span))?;
                options.time_limit = Some(Duration::from_nanos(nanos));
            }
            ("memory_limit" | "time_limit", Value::Nothing { .. }) => {
                if name == "memory_limit" {
                    options.memory_limit = None
                } else {
                    options.time_limit = None
                }
            }
            ("memory_limit" | "cache_size", _) => return Err(wrong(name, "be a filesize, such as 2GB", span)),
            ("time_limit", _) => return Err(wrong(name, "be a duration, such as 30sec", span)),
            _ => {
                let near = did_you_mean(name, SETTINGS, || format!("The settings are {}.", SETTINGS.join(", ")));
                return Err(LabeledError::new(format!("$env.config.plugins.nickel has no setting `{name}`"))
                    .with_label("set here", span)
                    .with_code(Code::NickelConfig)
                    .with_help(near));
            }
        }
    }
    Ok(options)
}

fn size(bytes: i64, name: &str, span: Span) -> Result<u64, LabeledError> {
    u64::try_from(bytes).map_err(|_| wrong(name, "not be negative", span))
}

fn wrong(name: &str, must: &str, span: Span) -> LabeledError {
    LabeledError::new(format!("the setting `{name}` of $env.config.plugins.nickel must {must}"))
        .with_label("set here", span)
        .with_code(Code::NickelConfig)
        .with_help("See the settings in docs/nickel.md.")
}
