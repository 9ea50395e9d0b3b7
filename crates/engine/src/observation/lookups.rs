//! Owns asking the clouds for what a configuration looks up, once for each plan.

use crate::configuration::accounts::open_account;
use crate::configuration::lookups::{Asked, key, looked_up, place_asked, written};
use crate::configuration::reading::Located;
use crate::observation::refresh::bounded;
use crate::workspace::Workspace;
use provision_diagnostic::{Code, Failure};
use provision_model::{Config, Json, Lookup, Map, NEWEST, Problem, Step, lookups, put_found};
use std::cmp::Ordering;
use std::collections::HashMap;

/// Puts what the clouds know in the place of every look-up. All that cannot be found is told at once.
pub(crate) fn look_up(on: &Workspace, located: &mut Located) -> Result<(), Failure> {
    let mut asked: Vec<(Vec<Step>, Asked)> = Vec::new();
    for declaration in &located.config.resources {
        for (path, value) in written(declaration) {
            for (rest, lookup) in lookups(value) {
                let whole = [declaration.path.clone(), path.clone(), rest].concat();
                asked.push((whole, place_asked(on, &located.config, Some(declaration), lookup)?));
            }
        }
    }
    for (name, value) in &located.config.outputs {
        for (rest, lookup) in lookups(value) {
            let whole = [vec!["outputs".into(), name.as_str().into()], rest].concat();
            asked.push((whole, place_asked(on, &located.config, None, lookup)?));
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
    let answers = bounded(&questions, on.host.readers, "a look-up", |one| rows_found(on, &located.config, one));
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
            let one = place_asked(on, &located.config, Some(&here), lookup.clone()).ok()?;
            found.get(&format!("{} {}", key(&one), one.2.attribute)).cloned()
        };
        let fields = declaration.fields.values_mut().chain(&mut declaration.lifecycle.replace_when);
        fields.for_each(|field| *field = put_found(field, &value));
    }
    let value = |lookup: &Lookup| {
        let one = place_asked(on, &located.config, None, lookup.clone()).ok()?;
        found.get(&format!("{} {}", key(&one), one.2.attribute)).cloned()
    };
    config.outputs.values_mut().for_each(|output| *output = put_found(output, &value));
    located.config = config;
    Ok(())
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
        [] => Err(Problem::value(Code::PlanLookupNone, format!("there is no {}{by}", lookup.kind), path)
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
            Err(Problem::value(Code::PlanLookupSeveral, message, path).help(help))
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

fn order(a: &Json, b: &Json) -> Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => a.as_str().unwrap_or_default().cmp(b.as_str().unwrap_or_default()),
    }
}

fn rows_found(on: &Workspace, config: &Config, (account, region, lookup): &Asked) -> Result<Vec<Map>, Failure> {
    let (manifest, _) = looked_up(on, lookup)?;
    let (_, name) = lookup.kind.split_once('.').unwrap_or((&lookup.kind, ""));
    let kind = format!("{}.{}", manifest.name, manifest.types.keys().next().map_or("", String::as_str));
    let opened = open_account(on, account, &kind, config.accounts.get(account))?;
    let region = region.as_deref().or(opened.region.as_deref());
    let found = opened.provider.look_up(name, region, &lookup.filter, &on.host.reading());
    found.map_err(|error| error.failure(&format!("cannot look up {}", lookup.kind)))
}
