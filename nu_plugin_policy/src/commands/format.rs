//! Owns `policy format`.

use crate::PolicyPlugin;
use crate::given::text;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};
use provision_diagnostic::{Code, Failure};
use provision_nu_bridge::labeled;
use provision_policy::{format, policies_from_json};

pub struct Format;

impl PluginCommand for Format {
    type Plugin = PolicyPlugin;

    fn name(&self) -> &str {
        "policy format"
    }

    fn description(&self) -> &str {
        "Format Cedar policies as the official command does."
    }

    fn extra_description(&self) -> &str {
        "`open --raw x.cedar | policy format | save -f x.cedar` formats a file."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["cedar", "fmt", "pretty", "style"]
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name())
            .input_output_types(vec![(Type::String, Type::String), (Type::record(), Type::String)])
            .category(super::category())
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: r#""permit(principal,action,resource);" | policy format"#,
            description: "Format text",
            result: Some(Value::test_string("permit (principal, action, resource);\n")),
        }]
    }

    fn run(
        &self,
        _plugin: &PolicyPlugin,
        _engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let span = input.span().unwrap_or(call.head);
        let Some((source, span)) = text(call, input)? else {
            let failure = Failure::new(Code::PolicyParse, "there is no text to format");
            return Err(labeled(
                &failure.with_help("Pipe Cedar text in: `open --raw x.cedar | policy format`."),
                span,
                "needs text",
            ));
        };
        // What `open x.cedar` gives is the JSON form.
        let formatted = match serde_json::from_str(&source.text) {
            Ok(json @ serde_json::Value::Object(_)) => policies_from_json(json),
            _ => format(&source.name, &source.text),
        };
        let text = formatted.map_err(|failure| labeled(&failure, span, "in this text"))?;
        Ok(PipelineData::value(Value::string(text, call.head), None))
    }
}
