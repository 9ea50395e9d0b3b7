//! Owns look-ups: what a configuration knows things by is checked without a call, asked once for each plan, and what the
//! clouds know of them is put in its place.

use crate::Session;
use crate::project::Located;
use crate::refresh::bounded;
use provision_diagnostic::{Failure, did_you_mean};
use provision_model::{
    Config, Declaration, FieldType, Json, Lookup, Map, NEWEST, Problem, Step, display_path, is_account_of, lookups,
    put_found,
};
use provision_registry::{LookupSpec, Manifest};
use std::cmp::Ordering;
use std::collections::HashMap;

/// The key of a filter that names another account.
const ACCOUNT: &str = "$provider";

const FORM: &str = "provision::plan::lookup";

/// A look-up with where it is asked: account and region.
type Asked = (String, Option<String>, Lookup);

impl Session {
    /// Puts what the clouds know in the place of every look-up. All that cannot be found is told at once.
    pub(crate) fn look_up(&self, located: &mut Located) -> Result<(), Failure> {
        let mut asked: Vec<(Vec<Step>, Asked)> = Vec::new();
        for declaration in &located.config.resources {
            for (path, value) in written(declaration) {
                for (rest, lookup) in lookups(value) {
                    let whole = [declaration.path.clone(), path.clone(), rest].concat();
                    asked.push((whole, self.asked(&located.config, Some(declaration), lookup)?));
                }
            }
        }
        for (name, value) in &located.config.outputs {
            for (rest, lookup) in lookups(value) {
                let whole = [vec!["outputs".into(), name.as_str().into()], rest].concat();
                asked.push((whole, self.asked(&located.config, None, lookup)?));
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        // The same is asked once, whatever is wanted of it.
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut questions: Vec<&Asked> = Vec::new();
        for (_, one) in &asked {
            known.entry(key(one)).or_insert_with(|| {
                questions.push(one);
                questions.len() - 1
            });
        }
        let answers = bounded(&questions, self.readers, "a look-up", |one| self.rows(&located.config, one));
        let rows = answers.into_iter().collect::<Result<Vec<Vec<Map>>, Failure>>()?;
        let mut found: HashMap<String, Json> = HashMap::new();
        let mut problems = Vec::new();
        for (path, one) in &asked {
            match pick(&one.2, &rows[known[&key(one)]], path) {
                Ok(value) => {
                    found.insert(format!("{} {}", key(one), one.2.attribute), value);
                }
                Err(problem) => problems.push(problem),
            }
        }
        Failure::check(problems.into_iter().map(|problem| located.diagnostic(problem)).collect())?;
        let mut config = located.config.clone();
        for declaration in &mut config.resources {
            let here = declaration.clone();
            let value = |lookup: &Lookup| {
                let one = self.asked(&located.config, Some(&here), lookup.clone()).ok()?;
                found.get(&format!("{} {}", key(&one), one.2.attribute)).cloned()
            };
            let fields = declaration.fields.values_mut().chain(&mut declaration.lifecycle.replace_when);
            fields.for_each(|field| *field = put_found(field, &value));
        }
        let value = |lookup: &Lookup| {
            let one = self.asked(&located.config, None, lookup.clone()).ok()?;
            found.get(&format!("{} {}", key(&one), one.2.attribute)).cloned()
        };
        config.outputs.values_mut().for_each(|output| *output = put_found(output, &value));
        located.config = config;
        Ok(())
    }

    /// Where a look-up is asked: where it says, or where the resource is that it stands in.
    fn asked(&self, config: &Config, within: Option<&Declaration>, mut lookup: Lookup) -> Result<Asked, Failure> {
        let (manifest, _) = self.looked_up(&lookup)?;
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
    fn looked_up(&self, lookup: &Lookup) -> Result<(&Manifest, &LookupSpec), Failure> {
        let (provider, name) = lookup.kind.split_once('.').unwrap_or((&lookup.kind, ""));
        let unknown = |message: String, help: String| Failure::new(FORM, message).with_help(help);
        let list = |known: Vec<&str>, what: &str, name: &str| {
            did_you_mean(name, known.iter().copied(), || match known.is_empty() {
                true => format!("{what} says nothing of look-ups."),
                false => there_are(&known),
            })
        };
        let Some(manifest) = self.registry.manifest(provider) else {
            let known = self.registry.manifests().map(|it| it.name.as_str()).collect();
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

    fn rows(&self, config: &Config, (account, region, lookup): &Asked) -> Result<Vec<Map>, Failure> {
        let (manifest, _) = self.looked_up(lookup)?;
        let (_, name) = lookup.kind.split_once('.').unwrap_or((&lookup.kind, ""));
        let kind = format!("{}.{}", manifest.name, manifest.types.keys().next().map_or("", String::as_str));
        let opened = self.account(account, &kind, config.accounts.get(account))?;
        let region = region.as_deref().or(opened.region.as_deref());
        let found = opened.provider.look_up(name, region, &lookup.filter, &self.reading());
        found.map_err(|error| error.failure(&format!("cannot look up {}", lookup.kind)))
    }
}

/// The values of a declaration in which something can be looked up.
fn written(declaration: &Declaration) -> Vec<(Vec<Step>, &Json)> {
    let fields = declaration.fields.iter().map(|(name, value)| (vec![name.as_str().into()], value));
    let triggers = declaration.lifecycle.replace_when.iter().enumerate();
    let triggers = triggers.map(|(at, value)| (vec!["lifecycle".into(), "replace_when".into(), at.into()], value));
    fields.chain(triggers).collect()
}

fn key((account, region, lookup): &Asked) -> String {
    let filter = provision_model::canonical(&Json::Object(lookup.filter.clone()));
    let region = region.as_deref().unwrap_or_default();
    let newest = lookup.newest.as_deref().unwrap_or_default();
    format!("{account} {region} {} {newest} {filter}", lookup.kind)
}

/// What is wanted of the one row that there is, or of the newest.
fn pick(lookup: &Lookup, rows: &[Map], path: &[Step]) -> Result<Json, Problem> {
    let best: Vec<&Map> = match &lookup.newest {
        None => rows.iter().collect(),
        Some(column) => {
            let greatest = rows.iter().filter_map(|row| row.get(column)).max_by(|a, b| order(a, b));
            rows.iter().filter(|row| greatest.is_some() && row.get(column) == greatest).collect()
        }
    };
    let by = described(lookup);
    let wanted = |row: &Map| row.get(&lookup.attribute).cloned().unwrap_or(Json::Null);
    match best.as_slice() {
        [] => Err(Problem::value("provision::plan::lookup_none", format!("there is no {}{by}", lookup.kind), path)
            .help("Say less of it, or look in the account and the region where it is.")),
        [one] => Ok(wanted(one)),
        several => {
            let shown: Vec<String> = several.iter().take(3).map(|row| told(row)).collect();
            let more = if several.len() > 3 { ", …" } else { "" };
            let message = format!("{} {}{by} are there: {}{more}", several.len(), lookup.kind, shown.join(", "));
            let help = match &lookup.newest {
                None => format!("Say more of it, or take one of them, for example by `{NEWEST} = \"created\"`."),
                Some(column) => format!("They have the same `{column}`; say more of it."),
            };
            Err(Problem::value("provision::plan::lookup_several", message, path).help(help))
        }
    }
}

/// ` with name = "debian-12"`.
fn described(lookup: &Lookup) -> String {
    let all: Vec<String> = lookup.filter.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    if all.is_empty() { String::new() } else { format!(" with {}", all.join(", ")) }
}

/// A row in a message: its first values.
fn told(row: &Map) -> String {
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("({})", row.values().filter(|it| !it.is_null()).take(3).map(text).collect::<Vec<_>>().join(" "))
}

fn there_are(known: &[&str]) -> String {
    format!("There are {}.", known.join(", "))
}

fn order(a: &Json, b: &Json) -> Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => a.as_str().unwrap_or_default().cmp(b.as_str().unwrap_or_default()),
    }
}

/// Everything wrong with the look-ups of a configuration that can be known without asking a cloud.
pub fn check(session: &Session, config: &Config, problems: &mut Vec<Problem>) {
    for declaration in &config.resources {
        let spec = session.registry.type_of(&declaration.kind).ok().map(|(_, spec)| spec);
        for (at, value) in written(declaration) {
            for (rest, lookup) in lookups(value) {
                let path = [declaration.path.clone(), at.clone(), rest.clone()].concat();
                let names: Vec<String> = rest.iter().map(|step| display_path(std::slice::from_ref(step))).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let field = spec.and_then(|spec| spec.fields.get(&display_path(&at)));
                let kind = field.and_then(|field| field.kind.at(&names));
                check_one(session, config, &lookup, kind, &path, problems);
            }
        }
    }
    for (name, value) in &config.outputs {
        for (rest, lookup) in lookups(value) {
            let path = [vec!["outputs".into(), name.as_str().into()], rest].concat();
            check_one(session, config, &lookup, None, &path, problems);
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

fn check_one(
    session: &Session,
    config: &Config,
    lookup: &Lookup,
    kind: Option<&FieldType>,
    path: &[Step],
    problems: &mut Vec<Problem>,
) {
    let (manifest, spec) = match session.looked_up(lookup) {
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
        problems.push(Problem::value("provision::plan::type", message, path).help(help));
    }
}
