//! Owns `provision provider upgrade`: replacing a provider of a project by another version.

use crate::ProvisionPlugin;
use crate::open::{actor, project_flag, required_project, variables};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type, Value, record};
use provision_diagnostic::{Code, Failure};
use provision_nu_bridge::{labeled, resolve_path};
use provision_registry::{Lock, Manifest, folder_of};

pub struct ProviderUpgrade;

impl PluginCommand for ProviderUpgrade {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision provider upgrade"
    }

    fn description(&self) -> &str {
        "Replace a provider of the project by another version, or pin it as it is now."
    }

    fn extra_description(&self) -> &str {
        "A version that lacks a type of which the state holds resources is refused. With a name instead of a path, what is in `extensions/providers/NAME` is checked and pinned. Fields that the new version names in `renamed` are renamed in the stored resources, listed in `migrated`."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::OWN, "update", "version", "pin", "lock"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .required(
                "source",
                SyntaxShape::String,
                "A folder or a `.tar.gz`; or the name of a provider of the project.",
            )
            .named("digest", SyntaxShape::String, "Refuse it unless this is its SHA-256.", None)
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: r#"provision provider upgrade acme-1.3.0.tar.gz"#,
                description: "Take the next version",
                result: None,
            },
            Example {
                example: r#"provision provider upgrade acme"#,
                description: "Pin what was changed by hand",
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
        let given: Spanned<String> = call.req(0)?;
        let project = required_project(engine, call)?;
        let raised = |failure: Failure| labeled(&failure, given.span, "this provider");
        let own = folder_of(&project).join(&given.item);
        let before = Lock::read(&project).map_err(raised)?;
        let named = !given.item.contains(['/', '.']) && !resolve_path(engine, &given.item)?.is_file() && own.is_dir();
        let (manifest, pin) = match named {
            true => {
                let candidate = provision_registry::open(&own, None, &plugin.evaluator).map_err(raised)?;
                self.keeps(engine, call, &project, &candidate.manifest)?;
                provision_registry::repin(&project, &given.item, &plugin.evaluator).map_err(raised)?
            }
            false => {
                let candidate = super::candidate(plugin, engine, call, &given)?;
                let name = &candidate.manifest.name;
                if !before.providers.contains_key(name) && !folder_of(&project).join(name).is_dir() {
                    let failure =
                        Failure::new(Code::ProviderUnknown, format!("the project has no provider `{name}` to upgrade"))
                            .with_help(format!("Run `provision provider add {}`.", given.item));
                    return Err(raised(failure));
                }
                self.keeps(engine, call, &project, &candidate.manifest)?;
                let pin = provision_registry::add(&project, &candidate).map_err(raised)?;
                (candidate.manifest, pin)
            }
        };
        let user = actor(&variables(engine)?).map_err(raised)?.id;
        let migrated = provision_engine::migrate(&project, &super::env(engine)?, &user, &manifest).map_err(raised)?;
        let migrated = migrated.iter().map(|address| Value::string(address, call.head)).collect();
        let previous = before.providers.get(&manifest.name).map(|pin| pin.version.clone());
        let row = record! {
            "name" => Value::string(&manifest.name, call.head),
            "version" => Value::string(pin.version, call.head),
            "previous" => previous.map_or(Value::nothing(call.head), |text| Value::string(text, call.head)),
            "digest" => Value::string(pin.digest, call.head),
            "migrated" => Value::list(migrated, call.head),
        };
        Ok(PipelineData::value(Value::record(row, call.head), None))
    }
}

impl ProviderUpgrade {
    /// Refuses a version without a type of which there are resources.
    fn keeps(
        &self,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        project: &std::path::Path,
        manifest: &Manifest,
    ) -> Result<(), LabeledError> {
        let held = super::held(engine, call, project, &manifest.name)?;
        let lost: Vec<String> = held
            .into_iter()
            .filter(|(_, kind)| kind.split_once('.').is_some_and(|(_, kind)| !manifest.types.contains_key(kind)))
            .map(|(address, kind)| format!("{address} ({kind})"))
            .collect();
        if lost.is_empty() {
            return Ok(());
        }
        let message =
            format!("version {} of `{}` lacks types of: {}", manifest.version, manifest.name, lost.join(", "));
        let failure = Failure::new(Code::ProviderInUse, message)
            .with_help("Destroy or forget these resources first, or keep the version that is there.");
        Err(labeled(&failure, call.head, "while looking at the state"))
    }
}
