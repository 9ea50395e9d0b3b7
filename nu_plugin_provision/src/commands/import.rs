//! Owns `provision import`: taking what exists into the state.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session, stoppable};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Span, Spanned, SyntaxShape, Type, Value};
use provision_diagnostic::{Code, Failure};
use provision_engine::ImportOptions;
use provision_nu_bridge::labeled;

pub struct Import;

impl PluginCommand for Import {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision import"
    }

    fn description(&self) -> &str {
        "Take what exists into the state, and give the Nickel that declares it."
    }

    fn extra_description(&self) -> &str {
        "With an address, an id and --type it is one resource; with --label all that carry the label, under addresses made from\n\
        their names. The column `nickel` is to be put into `resources` of infra.ncl: the plan is empty then. What is the id of\n\
        another resource of the state is written as a reference to it. Nothing is changed in the clouds; the policies are asked for\n\
        the action `adopt`. What carries the mark of another state needs --adopt; of --label it is left out without, and so is what\n\
        this state has already."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::ASKS, "adopt", "existing", "brownfield", "terraform"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .optional("address", SyntaxShape::String, "Address the resource gets.")
            .optional(
                "id",
                SyntaxShape::OneOf(vec![SyntaxShape::String, SyntaxShape::Int]),
                "Id of the resource in its cloud.",
            )
            .named(
                "type",
                super::texts_shape(),
                "Type, such as hetzner.server; with --label a list of them, or all.",
                Some('t'),
            )
            .named("label", SyntaxShape::String, "Take all with this label or tag, `KEY=VALUE`.", Some('l'))
            .named("provider", SyntaxShape::String, "With --label, look at this provider alone.", None)
            .named("region", SyntaxShape::String, "Region to look in; the account's by default.", Some('r'))
            .named("account", SyntaxShape::String, "Account under `providers`; the provider's own by default.", None)
            .switch("adopt", "Take it although it carries the mark of another state.", None)
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "provision import web 4711 --type hetzner.server | get 0.nickel",
                description: "Take one server and see how it is declared",
                result: None,
            },
            Example {
                example: "provision import --label team=shop --provider upcloud | get nickel | str join",
                description: "Take everything with a label",
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
        let address: Option<Spanned<String>> = call.opt(0)?;
        let id = match call.opt::<Value>(1)? {
            // Ids that are numbers come as such from other commands.
            Some(value) => Some(Spanned { item: value.coerce_string()?, span: value.span() }),
            None => None,
        };
        let label: Option<Spanned<String>> = call.get_flag("label")?;
        let provider: Option<Spanned<String>> = call.get_flag("provider")?;
        let kinds = super::texts(call, "type")?;
        let options = ImportOptions {
            region: call.get_flag("region")?,
            account: call.get_flag("account")?,
            adopt: call.has_flag("adopt")?,
        };
        let session = session(plugin, engine, call)?;
        let _guard = stoppable(engine, &session)?;
        let found = match (address, id, kinds, label, provider) {
            (None, None, kinds, Some(label), provider) => {
                let pair = label.item.split_once('=').filter(|(key, _)| !key.is_empty());
                let pair = pair.ok_or_else(|| wrong("a label is `KEY=VALUE`", label.span))?;
                let provider = provider.as_ref().map(|provider| provider.item.as_str());
                session.import_tagged(pair, kinds.as_deref(), provider, &options)
            }
            (Some(address), Some(id), Some(kinds), None, None) => match kinds.as_slice() {
                [kind] => session.import(&address.item, &id.item, kind, &options).map(|row| vec![row]),
                _ => return Err(wrong("one resource has one type", call.head)),
            },
            (.., Some(label), _) => return Err(wrong("an address and --label exclude each other", label.span)),
            (.., Some(provider)) => return Err(wrong("--provider goes with --label", provider.span)),
            (None, ..) => return Err(wrong("what is to be imported is not said", call.head)),
            (Some(address), None, ..) => return Err(wrong("the id of the resource is not said", address.span)),
            (Some(_), Some(id), None, ..) => return Err(wrong("the type of the resource is not said", id.span)),
        };
        let found = found.map_err(|failure| labeled(&failure, call.head, "while importing this"))?;
        let rows = found.iter().map(|row| super::value(row, call.head, &[])).collect();
        Ok(PipelineData::value(Value::list(rows, call.head), None))
    }
}

fn wrong(what: &str, span: Span) -> LabeledError {
    let failure = Failure::new(Code::ImportArguments, what).with_help(
        "Give `ADDRESS ID --type hetzner.server` for one resource, or `--label team=shop` for all that carry it.",
    );
    labeled(&failure, span, "here")
}
