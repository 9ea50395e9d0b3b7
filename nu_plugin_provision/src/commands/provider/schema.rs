//! Owns `provision provider schema`: the types and fields of a provider, as data.

use crate::ProvisionPlugin;
use crate::open::{project_flag, project_folder};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type, Value};
use provision_diagnostic::{Code, Failure, did_you_mean};
use provision_nu_bridge::labeled;
use provision_registry::type_rows;

pub struct ProviderSchema;

impl PluginCommand for ProviderSchema {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision provider schema"
    }

    fn description(&self) -> &str {
        "Give the resource types of a provider with their fields and attributes, as data."
    }

    fn extra_description(&self) -> &str {
        "With a type it gives that type alone, as a record. `on_change` says what a change does: `update` in place, `restart`, `replace`; `computed` is what only the cloud knows."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "fields", "types", "attributes", "reference"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .required("provider", SyntaxShape::String, "Name of the provider, or `provider.type`.")
            .optional("type", SyntaxShape::String, "One of its types.")
            .input_output_types(vec![(Type::Nothing, Type::table()), (Type::Nothing, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: r#"provision provider schema hetzner | select type doc"#,
                description: "The types of a provider",
                result: None,
            },
            Example {
                example: r#"provision provider schema hetzner server | get fields | where required"#,
                description: "What must be given for a server",
                result: None,
            },
            Example {
                example: r#"provision provider schema aws.instance | get attributes.field"#,
                description: "What only the cloud knows",
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
        let mut name: Spanned<String> = call.req(0)?;
        let mut kind: Option<Spanned<String>> = call.opt(1)?;
        if let (None, Some((provider, of))) = (&kind, name.item.split_once('.')) {
            kind = Some(Spanned { item: of.to_owned(), span: name.span });
            name.item = provider.to_owned();
        }
        let project = project_folder(engine, call)?;
        let registry = super::registry(plugin, engine, call, project.as_deref())?;
        let manifest = super::manifest(&registry, &name)?;
        let rows = type_rows(manifest);
        let shown = |row| super::value(row, call.head, &[]);
        let Some(kind) = kind else {
            return Ok(PipelineData::value(Value::list(rows.iter().map(shown).collect(), call.head), None));
        };
        let wanted = format!("{}.{}", manifest.name, kind.item.rsplit('.').next().unwrap_or_default());
        match rows.iter().find(|row| row.kind == wanted) {
            Some(row) => Ok(PipelineData::value(shown(row), None)),
            None => {
                let message = format!("{} has no type `{}`", manifest.name, kind.item);
                let failure = Failure::new(Code::PlanUnknownType, message).with_help(did_you_mean(
                    &kind.item,
                    manifest.types.keys().map(String::as_str),
                    || format!("Its types are {}.", manifest.types.keys().cloned().collect::<Vec<_>>().join(", ")),
                ));
                Err(labeled(&failure, kind.span, "this type"))
            }
        }
    }
}
