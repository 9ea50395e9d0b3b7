//! Owns look-ups as they are written: checked without a call, and where each is asked.

use crate::workspace::Workspace;
use provision_diagnostic::{Code, Failure, did_you_mean};
use provision_model::{
    Config, Declaration, FieldType, Json, Lookup, Problem, Step, display_path, is_account_of, lookups,
};
use provision_registry::{LookupSpec, Manifest};

/// The key of a filter that names another account.
const ACCOUNT: &str = "$provider";

const FORM: Code = Code::PlanLookup;

/// A look-up with where it is asked: account and region.
pub(crate) type Asked = (String, Option<String>, Lookup);

/// The values of a declaration in which something can be looked up.
pub(crate) fn written(declaration: &Declaration) -> Vec<(Vec<Step>, &Json)> {
    let fields = declaration.fields.iter().map(|(name, value)| (vec![name.as_str().into()], value));
    let triggers = declaration.lifecycle.replace_when.iter().enumerate();
    let triggers = triggers.map(|(at, value)| (vec!["lifecycle".into(), "replace_when".into(), at.into()], value));
    fields.chain(triggers).collect()
}

pub(crate) fn key((account, region, lookup): &Asked) -> String {
    let filter = provision_model::canonical(&Json::Object(lookup.filter.clone()));
    let region = region.as_deref().unwrap_or_default();
    let newest = lookup.newest.as_deref().unwrap_or_default();
    format!("{account} {region} {} {newest} {filter}", lookup.kind)
}

/// Everything wrong with the look-ups of a configuration that can be known without asking a cloud.
pub fn check(on: &Workspace, config: &Config, problems: &mut Vec<Problem>) {
    for declaration in &config.resources {
        let spec = on.project.registry.type_of(&declaration.kind).ok().map(|(_, spec)| spec);
        for (at, value) in written(declaration) {
            for (rest, lookup) in lookups(value) {
                let path = [declaration.path.clone(), at.clone(), rest.clone()].concat();
                let names: Vec<String> = rest.iter().map(|step| display_path(std::slice::from_ref(step))).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let field = spec.and_then(|spec| spec.fields.get(&display_path(&at)));
                let kind = field.and_then(|field| field.kind.at(&names));
                check_one(on, config, &lookup, kind, &path, problems);
            }
        }
    }
    for (name, value) in &config.outputs {
        for (rest, lookup) in lookups(value) {
            let path = [vec!["outputs".into(), name.as_str().into()], rest].concat();
            check_one(on, config, &lookup, None, &path, problems);
        }
    }
    for (account, config) in &config.accounts {
        for (name, _) in config.settings.iter().filter(|(_, value)| !lookups(value).is_empty()) {
            let path: Vec<Step> = vec!["providers".into(), account.as_str().into(), name.as_str().into()];
            let message = format!("nothing can be looked up for `{name}`: it says where to look");
            problems.push(Problem::value(FORM, message, &path).help("Write it out, or use `p.env \"NAME\"`."));
        }
    }
}

/// Where a look-up is asked: where it says, or where the resource is that it stands in.
pub(crate) fn place_asked(
    on: &Workspace,
    config: &Config,
    within: Option<&Declaration>,
    mut lookup: Lookup,
) -> Result<Asked, Failure> {
    let (manifest, _) = looked_up(on, &lookup)?;
    let of_provider = |name: &str| is_account_of(&config.accounts, name, &manifest.name);
    let named = lookup.filter.shift_remove(ACCOUNT).and_then(|name| name.as_str().map(str::to_owned));
    let own = within.filter(|it| of_provider(&it.account));
    let account = named.or_else(|| own.map(|it| it.account.clone())).unwrap_or_else(|| manifest.name.clone());
    let region = manifest.region.as_ref().and_then(|rule| {
        let said = lookup.filter.shift_remove(&rule.field);
        let said = said.or_else(|| own.and_then(|it| it.fields.get(&rule.field).cloned()));
        said.and_then(|region| region.as_str().map(str::to_owned))
    });
    Ok((account, region, lookup))
}

/// The manifest of a look-up, and what can be looked up.
pub(crate) fn looked_up<'a>(on: &'a Workspace, lookup: &Lookup) -> Result<(&'a Manifest, &'a LookupSpec), Failure> {
    let (provider, name) = lookup.kind.split_once('.').unwrap_or((&lookup.kind, ""));
    let unknown = |message: String, help: String| Failure::new(FORM, message).with_help(help);
    let list = |known: Vec<&str>, what: &str, name: &str| {
        did_you_mean(name, known.iter().copied(), || match known.is_empty() {
            true => format!("{what} says nothing of look-ups."),
            false => there_are(&known),
        })
    };
    let Some(manifest) = on.project.registry.manifest(provider) else {
        let known = on.project.registry.manifests().map(|it| it.name.as_str()).collect();
        let message = format!("`{}` cannot be looked up: there is no provider `{provider}`", lookup.kind);
        return Err(unknown(message, list(known, "No manifest", provider)));
    };
    let Some(spec) = manifest.lookups.get(name) else {
        let known = manifest.lookups.keys().map(String::as_str).collect();
        let message = format!("{provider} has nothing to look up that is called `{name}`");
        return Err(unknown(message, list(known, &format!("The manifest of {provider}"), name)));
    };
    Ok((manifest, spec))
}

fn there_are(known: &[&str]) -> String {
    format!("There are {}.", known.join(", "))
}

fn check_one(
    on: &Workspace,
    config: &Config,
    lookup: &Lookup,
    kind: Option<&FieldType>,
    path: &[Step],
    problems: &mut Vec<Problem>,
) {
    let (manifest, spec) = match looked_up(on, lookup) {
        Ok(found) => found,
        Err(failure) => {
            let help = failure.first.help.clone().unwrap_or_default();
            problems.push(Problem::value(FORM, failure.first.message, path).help(help));
            return;
        }
    };
    let mut wrong = |message: String, help: String| problems.push(Problem::value(FORM, message, path).help(help));
    let region = manifest.region.as_ref().map(|rule| rule.field.as_str());
    let known: Vec<&str> = spec.filters.keys().map(String::as_str).chain(region).collect();
    for (name, value) in &lookup.filter {
        if name == ACCOUNT {
            let of_provider = |name: &str| is_account_of(&config.accounts, name, &manifest.name);
            if !value.as_str().is_some_and(of_provider) {
                let accounts = config.accounts.iter().filter(|(_, it)| it.provider == manifest.name);
                let accounts: Vec<&str> =
                    accounts.map(|(name, _)| name.as_str()).chain([manifest.name.as_str()]).collect();
                wrong(format!("there is no account {value} of {}", manifest.name), there_are(&accounts));
            }
        } else if !known.contains(&name.as_str()) {
            let help = did_you_mean(name, known.iter().copied(), || there_are(&known));
            wrong(format!("a {} is not known by `{name}`", lookup.kind), help);
        }
    }
    for (name, _) in spec.filters.iter().filter(|(_, rule)| rule.required) {
        if !lookup.filter.contains_key(name) {
            wrong(format!("a {} cannot be looked up without `{name}`", lookup.kind), there_are(&known));
        }
    }
    let columns: Vec<&str> = spec.columns.keys().map(String::as_str).collect();
    for name in lookup.newest.iter().chain([&lookup.attribute]) {
        if !spec.columns.contains_key(name) {
            let help = did_you_mean(name, columns.iter().copied(), || there_are(&columns));
            wrong(format!("a {} has no `{name}`", lookup.kind), help);
        }
    }
    if let (Some(kind), Some(column)) = (kind, spec.columns.get(&lookup.attribute))
        && !kind.accepts(&column.kind)
    {
        let message = format!("`{}` of a {} is {}", lookup.attribute, lookup.kind, column.kind.name());
        let help = format!("Here goes {}.", kind.name());
        problems.push(Problem::value(Code::PlanType, message, path).help(help));
    }
}
