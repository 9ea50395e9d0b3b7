//! Owns the commands that are only the first words of others: each shows what there is under its name.

use crate::ProvisionPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};

/// A name that other commands begin with.
pub struct Group {
    name: &'static str,
    description: &'static str,
    more: &'static str,
    terms: &'static [&'static str],
}

const GROUPS: &[Group] = &[
    Group {
        name: "provision state",
        description: "Look at the state, and change what it alone says of a resource.",
        more: "Nothing in a cloud is touched by these commands. What they change is in `provision history`, and policies are asked.",
        terms: &["resources", "backup", "inventory"],
    },
    Group {
        name: "provision lock",
        description: "See who is changing something, and free the lease of one who will not come back.",
        more: "Whoever changes something holds the lease of the state; a dead owner on this machine loses it at once.",
        terms: &["lease", "unlock"],
    },
    Group {
        name: "provision trust",
        description: "See and change whom the project trusts with credentials, and what it may import from elsewhere.",
        more: "Consent is kept in `provision.lock`, which is committed; giving it is audited.",
        terms: &["consent", "security", "hosts"],
    },
    Group {
        name: "provision secret",
        description: "Keep the project's passwords and keys, encrypted for those who may read them.",
        more: "They are age files in the folder `secrets`, safe to commit; `p.secret { age = \"name\" }` uses one.",
        terms: &["password", "age", "encrypt"],
    },
    Group {
        name: "provision sandbox",
        description: "Run imitations of the clouds on this machine.",
        more: "What is applied against them costs nothing and is gone with them.",
        terms: &["mock", "test", "local"],
    },
    Group {
        name: "provision policy",
        description: "Put changed policies of the project in force.",
        more: "`policy authorize`, `policy test` and their like look at policies without this project.",
        terms: &["cedar", "accept"],
    },
    Group {
        name: "provision provider",
        description: "See which clouds can be used here.",
        more: "Each is a manifest written in Nickel, built in or in `extensions/providers` of the project.",
        terms: &["cloud", "extension"],
    },
];

/// Every command that is only a group.
pub fn all() -> impl Iterator<Item = Box<dyn PluginCommand<Plugin = ProvisionPlugin>>> {
    GROUPS.iter().map(|group| {
        let group = Group { ..*group };
        Box::new(group) as Box<dyn PluginCommand<Plugin = ProvisionPlugin>>
    })
}

impl PluginCommand for Group {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        self.name
    }

    fn description(&self) -> &str {
        self.description
    }

    fn extra_description(&self) -> &str {
        self.more
    }

    fn search_terms(&self) -> Vec<&str> {
        std::iter::once(super::READS).chain(self.terms.iter().copied()).collect()
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name).input_output_types(vec![(Type::Nothing, Type::String)]).category(super::category())
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example { example: self.name, description: "Show the commands", result: None }]
    }

    fn run(
        &self,
        _plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        Ok(PipelineData::value(Value::string(engine.get_help()?, call.head), None))
    }
}
