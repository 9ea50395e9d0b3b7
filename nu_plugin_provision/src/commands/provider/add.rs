//! Owns `provision provider add`: bringing a provider into a project.

use crate::ProvisionPlugin;
use crate::open::{project_flag, required_project};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type, Value, record};
use provision_diagnostic::{Code, Failure};
use provision_nu_bridge::labeled;
use provision_registry::{Lock, folder_of};

pub struct ProviderAdd;

impl PluginCommand for ProviderAdd {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision provider add"
    }

    fn description(&self) -> &str {
        "Add a provider to the project from a folder or an archive, and pin it."
    }

    fn extra_description(&self) -> &str {
        "It is checked first, then copied to `extensions/providers/NAME`; `provision.lock` pins its version and digest. From the next command on it is `p.NAME` in Nickel. The digest of an archive is its SHA-256, that of a folder is what `provision provider list` shows."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::OWN, "install", "extension", "plugin"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .required("source", SyntaxShape::String, "A folder or a `.tar.gz` with a `manifest.ncl` or a `mod.nu`.")
            .named("digest", SyntaxShape::String, "Refuse it unless this is its SHA-256.", None)
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: r#"provision provider add ~/providers/acme"#,
                description: "Add a provider from a folder",
                result: None,
            },
            Example {
                example: r#"provision provider add acme-1.2.0.tar.gz --digest sha256:2c26…"#,
                description: "Add an archive whose digest is known",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        drop(input);
        let path: Spanned<String> = call.req(0)?;
        let project = required_project(engine, call)?;
        let candidate = super::candidate(plugin, engine, call, &path)?;
        let raised = |failure: Failure| labeled(&failure, path.span, "this provider");
        let name = candidate.manifest.name.clone();
        let before = Lock::read(&project).map_err(raised)?.providers.remove(&name);
        if let Some(before) = before.filter(|before| before.digest != candidate.digest) {
            let failure = Failure::new(
                Code::ProviderInUse,
                format!("the provider `{name}` is there already, version {}", before.version),
            )
            .with_help(format!("Run `provision provider upgrade {}` to replace it.", path.item));
            return Err(raised(failure));
        }
        let pin = provision_registry::add(&project, &candidate).map_err(raised)?;
        let types = candidate.manifest.types.keys().map(|kind| Value::string(format!("{name}.{kind}"), call.head));
        let row = record! {
            "name" => Value::string(&name, call.head),
            "version" => Value::string(pin.version, call.head),
            "digest" => Value::string(pin.digest, call.head),
            "types" => Value::list(types.collect(), call.head),
            "path" => Value::string(folder_of(&project).join(&name).to_string_lossy(), call.head),
        };
        Ok(PipelineData::value(Value::record(row, call.head), None))
    }
}
