//! Owns checking a configuration against the manifests, before any call: every problem of every resource in one run.

use crate::configuration::accounts::open_account;
use crate::configuration::deferred::Order;
use crate::configuration::desired::with_defaults;
use crate::configuration::sources::secret_files;
use crate::workspace::Workspace;
use provision_diagnostic::Code;
use provision_model::{
    Config, Declaration, FieldSpec, FieldType, Json, Map, Problem, RESERVED, Reference, SecretSource, Site, Step,
    check_fields, cycle_of, is_later, malformed, references, secret_sources, variables,
};
use provision_registry::{Manifest, TypeSpec};
use std::collections::HashMap;

/// Everything wrong with a configuration that can be known without asking a cloud.
pub fn validate(on: &Workspace, config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let by_address: HashMap<&str, &Declaration> =
        config.resources.iter().map(|declaration| (declaration.address.as_str(), declaration)).collect();
    for declaration in &config.resources {
        match on.project.registry.type_of(&declaration.kind) {
            Ok((manifest, spec)) => {
                check_resource(on, config, declaration, manifest, spec, &by_address, &mut problems);
            }
            Err(failure) => {
                let mut path = declaration.path.clone();
                path.push("$type".into());
                let code =
                    if failure.code() == Code::ProviderUnknown { Code::ProviderUnknown } else { Code::PlanUnknownType };
                let mut problem = Problem::value(code, failure.first.message.clone(), &declaration.path);
                problem.help = failure.first.help.clone();
                problem.path = path;
                problems.push(problem);
            }
        }
    }
    for reference in references(&Json::Object(config.outputs.clone())) {
        let mut path: Vec<Step> = vec!["outputs".into()];
        path.extend(reference.path.clone());
        check_reference(on, &reference, None, path, &by_address, &mut problems);
    }
    for (name, value) in &config.outputs {
        let at = |rest: Vec<Step>| [vec!["outputs".into(), name.as_str().into()], rest].concat();
        check_forms(on, value, &at, &mut problems);
    }
    check_cycles(on, config, &mut problems);
    crate::configuration::moves::check(config, &mut problems);
    crate::configuration::lookups::check(on, config, &mut problems);
    check_unique(on, config, &mut problems);
    crate::configuration::parts::check(on, config, &mut problems);
    check_accounts(on, config, &mut problems);
    problems
}

fn check_resource(
    on: &Workspace,
    config: &Config,
    declaration: &Declaration,
    manifest: &Manifest,
    spec: &TypeSpec,
    by_address: &HashMap<&str, &Declaration>,
    problems: &mut Vec<Problem>,
) {
    let mut path = declaration.path.clone();
    check_fields(&spec.fields, &declaration.fields, RESERVED, &mut path, problems);
    if !declaration.lifecycle.allow_unknown {
        check_catalog(manifest, &spec.fields, &declaration.fields, &mut path, problems);
    }
    for (name, value) in &declaration.fields {
        let Some(field) = spec.fields.get(name) else { continue };
        let at = |rest: Vec<Step>| {
            let mut at = declaration.path.clone();
            at.push(name.as_str().into());
            at.extend(rest);
            at
        };
        check_forms(on, value, &at, problems);
        for (rest, variable) in variables(value) {
            if (on.host.env)(&variable).is_none() {
                problems.push(
                    Problem::value(
                        Code::ProviderCredential,
                        format!("the environment variable {variable} is not set"),
                        &at(rest),
                    )
                    .help(format!("Set it, for example `$env.{variable} = …`.")),
                );
            }
        }
        for reference in references(value) {
            let mut at = declaration.path.clone();
            at.push(name.as_str().into());
            at.extend(reference.path.clone());
            let wanted = type_at(&field.kind, &reference.path);
            check_reference(on, &reference, wanted, at, by_address, problems);
        }
    }
    for (index, value) in declaration.lifecycle.replace_when.iter().enumerate() {
        let at = |rest: Vec<Step>| {
            let own: [Step; 3] = ["lifecycle".into(), "replace_when".into(), index.into()];
            declaration.path.iter().cloned().chain(own).chain(rest).collect::<Vec<Step>>()
        };
        check_forms(on, value, &at, problems);
        for reference in references(value) {
            let place = at(reference.path.clone());
            check_reference(on, &reference, None, place, by_address, problems);
        }
    }
    for (index, needed) in declaration.depends_on.iter().enumerate() {
        if !by_address.contains_key(needed.as_str()) {
            let mut at = declaration.path.clone();
            at.push("depends_on".into());
            at.push(index.into());
            problems.push(unknown_address(needed.as_str(), at, by_address));
        }
    }
    for name in &declaration.lifecycle.ignore {
        if !spec.fields.contains_key(name) {
            let mut at = declaration.path.clone();
            at.extend(["lifecycle".into(), "ignore".into()]);
            problems.push(
                Problem::value(
                    Code::PlanUnknownField,
                    format!("`lifecycle.ignore` names the unknown field `{name}`"),
                    &at,
                )
                .help(match name.split_once('.') {
                    Some((whole, _)) if spec.fields.contains_key(whole) => {
                        format!("It takes whole fields: write `{whole}`.")
                    }
                    _ => "Name a field of the resource.".to_owned(),
                }),
            );
        }
    }
    if let Some(account) = config.accounts.get(&declaration.account)
        && account.provider != manifest.name
    {
        problems.push(
            Problem::value(
                Code::ConfigInvalid,
                format!(
                    "`{}` is a {} resource, but its account `{}` is one of {}",
                    declaration.address, manifest.name, declaration.account, account.provider
                ),
                &declaration.path,
            )
            .help(format!("Use an account of {}.", manifest.name)),
        );
    }
    if declaration.account != manifest.name && !config.accounts.contains_key(&declaration.account) {
        let mut at = declaration.path.clone();
        at.push("$provider".into());
        problems.push(
            Problem::value(
                Code::ConfigInvalid,
                format!(
                    "`{}` uses the account `{}`, which `providers` does not have",
                    declaration.address, declaration.account
                ),
                &at,
            )
            .help(format!("Add `providers.{} = p.{}.account & {{ … }}`.", declaration.account, manifest.name)),
        );
    }
}

/// References that are not of their form, and secrets that are not in the project. `at` gives the place of a part of the
/// value in the configuration.
fn check_forms(on: &Workspace, value: &Json, at: &dyn Fn(Vec<Step>) -> Vec<Step>, problems: &mut Vec<Problem>) {
    for wrong in malformed(value) {
        let path = at(wrong.path);
        let message = format!("`{}` is no {}", provision_model::display_path(&path), wrong.what);
        problems.push(Problem::value(wrong.code, message, &path).help(wrong.help));
    }
    for (rest, source) in secret_sources(value) {
        if let SecretSource::Age { name, .. } = source
            && let Err(failure) = secret_files(on).check(&name)
        {
            let told = *failure.first;
            let problem = Problem::value(Code::SecretUnknown, told.message, &at(rest));
            problems.push(Problem { help: told.help, ..problem });
        }
    }
}

/// The type a reference stands for inside a field; `None` inside a join, where any scalar is fine.
fn type_at<'a>(kind: &'a FieldType, path: &[Step]) -> Option<&'a FieldType> {
    let mut kind = kind;
    for step in path {
        kind = match (kind, step) {
            (_, Step::Field(name)) if name.starts_with('$') => return None,
            (FieldType::List(inner), Step::Index(_)) | (FieldType::Map(inner), Step::Field(_)) => inner,
            (FieldType::Record(fields), Step::Field(name)) => &fields.get(name)?.kind,
            (FieldType::Any, _) => return None,
            _ => return None,
        };
    }
    Some(kind)
}

fn unknown_address(address: &str, path: Vec<Step>, by_address: &HashMap<&str, &Declaration>) -> Problem {
    Problem {
        code: Code::PlanUnknownReference,
        message: format!("there is no resource `{address}`"),
        help: Some(provision_diagnostic::did_you_mean(address, by_address.keys().copied(), || {
            "Refer to the address of a resource in this configuration.".to_owned()
        })),
        path,
        site: Site::Value,
    }
}

fn check_reference(
    on: &Workspace,
    reference: &Reference,
    wanted: Option<&FieldType>,
    path: Vec<Step>,
    by_address: &HashMap<&str, &Declaration>,
    problems: &mut Vec<Problem>,
) {
    let Some(target) = by_address.get(reference.address.as_str()) else {
        problems.push(unknown_address(reference.address.as_str(), path, by_address));
        return;
    };
    let Ok((_, spec)) = on.project.registry.type_of(&target.kind) else { return };
    match attribute_type(spec, &reference.attribute) {
        None => {
            let names = spec.attributes.keys().chain(spec.fields.keys()).map(String::as_str);
            problems.push(
                Problem::value(
                    Code::PlanUnknownAttribute,
                    format!("`{}` ({}) has no attribute `{}`", target.address, target.kind, reference.attribute),
                    &path,
                )
                .help(provision_diagnostic::did_you_mean(&reference.attribute, names, || {
                    format!("Its attributes are {}.", spec.attributes.keys().cloned().collect::<Vec<_>>().join(", "))
                })),
            );
        }
        Some(found) => {
            if wanted.is_some_and(|wanted| !wanted.accepts(found)) {
                problems.push(
                    Problem::value(
                        Code::PlanType,
                        format!(
                            "`{}.{}` is {}, which cannot stand here",
                            target.address,
                            reference.attribute,
                            found.name()
                        ),
                        &path,
                    )
                    .help(format!("Refer to {} here.", wanted.map_or_else(String::new, FieldType::name))),
                );
            }
        }
    }
}

/// The type of an attribute or field by dotted name.
fn attribute_type<'a>(spec: &'a TypeSpec, name: &str) -> Option<&'a FieldType> {
    let find = |specs: &'a indexmap::IndexMap<String, FieldSpec>| {
        let parts: Vec<&str> = name.split('.').collect();
        (1..=parts.len())
            .rev()
            .find_map(|length| specs.get(&parts[..length].join(".")).and_then(|field| field.kind.at(&parts[length..])))
    };
    find(&spec.attributes).or_else(|| find(&spec.fields))
}

fn check_catalog(
    manifest: &Manifest,
    specs: &indexmap::IndexMap<String, FieldSpec>,
    values: &Map,
    path: &mut Vec<Step>,
    problems: &mut Vec<Problem>,
) {
    for (name, spec) in specs {
        let Some(value) = values.get(name).filter(|value| !is_later(value)) else { continue };
        path.push(name.as_str().into());
        if let (Some(catalog), Some(text)) = (&spec.catalog, value.as_str())
            && let Some(known) = manifest.catalog.get(catalog)
            && !known.iter().any(|entry| entry == text)
        {
            let near = provision_diagnostic::nearest(text, known.iter().map(String::as_str));
            problems.push(
                Problem::value(
                    Code::PlanUnknownValue,
                    format!("{} has no {} `{text}`", manifest.name, catalog.trim_end_matches('s').replace('_', " ")),
                    path,
                )
                .help(near.map_or_else(
                    || format!("Known are {}; `lifecycle.allow_unknown = true` takes others.", known.join(", ")),
                    |near| format!("Did you mean `{near}`? `lifecycle.allow_unknown = true` takes others."),
                )),
            );
        }
        if let (FieldType::List(inner), Json::Array(items)) = (&spec.kind, value)
            && let FieldType::Record(fields) = inner.as_ref()
        {
            for (index, item) in items.iter().enumerate() {
                if let Json::Object(item) = item {
                    path.push(index.into());
                    check_catalog(manifest, fields, item, path, problems);
                    path.pop();
                }
            }
        }
        path.pop();
    }
}

fn check_cycles(on: &Workspace, config: &Config, problems: &mut Vec<Problem>) {
    if let Err(cycle) = Order::of(&on.project.registry, &config.resources) {
        let path = cycle
            .addresses
            .first()
            .and_then(|first| config.resources.iter().find(|it| it.address == *first))
            .map(|it| it.path.clone())
            .unwrap_or_default();
        problems.push(
            Problem::key(Code::PlanCycle, format!("references form a cycle: {}", cycle_of(&cycle.addresses)), &path)
                .help(cycle.help()),
        );
    }
}

fn check_unique(on: &Workspace, config: &Config, problems: &mut Vec<Problem>) {
    let mut seen: HashMap<(String, String, String, String), &Declaration> = HashMap::new();
    for declaration in &config.resources {
        let Ok((manifest, spec)) = on.project.registry.type_of(&declaration.kind) else { continue };
        let fields = with_defaults(declaration, manifest, spec, &config.name, None);
        let region = manifest.region.as_ref().and_then(|region| fields.get(&region.field)).and_then(Json::as_str);
        let scope = format!("{} {}", declaration.account, region.unwrap_or_default());
        for names in spec.keys() {
            let values: Vec<&Json> =
                names.iter().filter_map(|name| fields.get(*name)).filter(|it| !it.is_null()).collect();
            if values.len() < names.len() {
                continue;
            }
            let last = names.last().map(|name| Step::from(*name));
            let names = names.join(", ");
            // References to the same attribute are the same value, whatever it will be.
            let written = values.iter().map(|it| it.to_string()).collect::<Vec<_>>().join(",");
            let key = (scope.clone(), declaration.kind.clone(), names.clone(), written);
            if let Some(first) = seen.insert(key, declaration) {
                let mut path = declaration.path.clone();
                path.extend(last);
                let shown = match values.as_slice() {
                    [Json::String(text)] => format!(" `{text}`"),
                    _ => String::new(),
                };
                problems.push(
                    Problem::value(
                        Code::PlanDuplicateName,
                        format!("`{}` and `{}` have the same {names}{shown}", first.address, declaration.address),
                        &path,
                    )
                    .help(format!(
                        "{} allows one {} of each {names}; give one of them another.",
                        manifest.name,
                        declaration.type_name()
                    )),
                );
            }
        }
    }
}

fn check_accounts(on: &Workspace, config: &Config, problems: &mut Vec<Problem>) {
    let mut tried = std::collections::HashSet::new();
    for declaration in &config.resources {
        if on.project.registry.type_of(&declaration.kind).is_err() || !tried.insert(&declaration.account) {
            continue;
        }
        let account = config.accounts.get(&declaration.account);
        match open_account(on, &declaration.account, &declaration.kind, account) {
            Err(failure) => {
                for diagnostic in failure.into_diagnostics() {
                    let code = match diagnostic.code {
                        Code::ConfigInvalid => Code::ConfigInvalid,
                        Code::ProviderUntrusted => Code::ProviderUntrusted,
                        _ => Code::ProviderCredential,
                    };
                    let path: Vec<Step> = if account.is_some() {
                        vec!["providers".into(), declaration.account.as_str().into()]
                    } else {
                        declaration.path.clone()
                    };
                    let mut problem = Problem::value(code, diagnostic.message, &path);
                    problem.help = diagnostic.help;
                    problems.push(problem);
                }
            }
            Ok(opened) => check_region(on, config, declaration, opened.region.as_deref(), problems),
        }
    }
}

fn check_region(
    on: &Workspace,
    config: &Config,
    first: &Declaration,
    region: Option<&str>,
    problems: &mut Vec<Problem>,
) {
    let Ok((manifest, _)) = on.project.registry.type_of(&first.kind) else { return };
    let (Some(rule), None) = (&manifest.region, region) else { return };
    for declaration in config.resources.iter().filter(|it| it.account == first.account) {
        if !declaration.fields.contains_key(&rule.field) {
            problems.push(
                Problem::value(
                    Code::PlanMissingField,
                    format!("`{}` lacks `{}`, and its account has none", declaration.address, rule.field),
                    &declaration.path,
                )
                .help(format!("Add `{}`, or set {}.", rule.field, rule.env.join(" or "))),
            );
        }
    }
}
