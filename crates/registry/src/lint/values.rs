//! Owns single values of a manifest that have a form of their own: versions, header names, paths, keys, what examples need.

use super::meaning::field;
use super::{Findings, at};
use crate::{Auth, Manifest, Protocol, TypeSpec, path_steps};
use indexmap::IndexMap;
use provision_diagnostic::{Code, did_you_mean};
use provision_model::{FieldType, IdentityClass, Reference, Step, references};

const LINT: Code = Code::ProviderLint;

/// The values of a manifest as a whole.
pub fn check(manifest: &Manifest, findings: &mut Findings) {
    let root: Vec<Step> = Vec::new();
    let short = |text: &str| text.split('.').count() <= 3 && text.split('.').all(|part| part.parse::<u64>().is_ok());
    if semver::Version::parse(&manifest.version).is_err() && !short(&manifest.version) {
        findings.error(
            Code::ProviderManifest,
            format!("`{}` is no version", manifest.version),
            &at(&root, "version"),
            "Write it like `1.0.0` (https://semver.org).",
        );
    }
    for (index, auth) in manifest.auth.iter().enumerate() {
        // RFC 9110, section 5.6.2: a token.
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if let Auth::Header { name, .. } = auth
            && (name.is_empty() || !name.chars().all(token))
        {
            findings.error(
                LINT,
                format!("{name:?} is no name of a header"),
                &at(&at(&at(&root, "auth"), index), "name"),
                "Write for example `X-Auth-Token`.",
            );
        }
    }
}

/// The values of a type.
pub fn check_type(manifest: &Manifest, spec: &TypeSpec, name: &str, here: &[Step], findings: &mut Findings) {
    let steps = |path: &str| path.split('.').all(|step| !step.trim().is_empty());
    if !spec.id.split(['|', ',']).all(steps) {
        findings.error(
            LINT,
            format!("`{}` is no path of an id", spec.id),
            &at(here, "id"),
            "Write for example `id` or `server.uuid`.",
        );
    }
    for (index, key) in spec.keys().enumerate() {
        for part in key {
            field(spec, part, "`unique`", &at(&at(here, "unique"), index), findings);
        }
    }
    let remote = manifest.protocol != Protocol::Rust;
    if remote && spec.identity == IdentityClass::Keyed && spec.unique.is_empty() {
        findings.warning(
            LINT,
            format!("the type `{name}` is recognised by its key, but nothing says what that is"),
            &at(here, "identity"),
            "Name the fields of which there is one each in `unique`, with commas between those that make one key.",
        );
    }
    for attribute in spec.attributes.keys().filter(|attribute| spec.fields.contains_key(*attribute)) {
        findings.warning(
            LINT,
            format!("`{attribute}` is both a field and an attribute"),
            &at(&at(here, "attributes"), attribute.as_str()),
            "Remove the attribute: a reference reads the field.",
        );
    }
    let mut sent: IndexMap<&str, &str> = IndexMap::new();
    for (field, it) in &spec.fields {
        let wire = it.wire.as_deref().unwrap_or(field);
        if let Some(first) = (!wire.is_empty()).then(|| sent.insert(wire, field)).flatten() {
            findings.warning(
                LINT,
                format!("`{first}` and `{field}` are both sent as `{wire}`"),
                &at(&at(here, "fields"), field.as_str()),
                "Give one of them another `wire`.",
            );
        }
    }
    for (part, fields) in [("fields", &spec.fields), ("attributes", &spec.attributes)] {
        for (name, it) in fields {
            let place = at(&at(here, part), name.as_str());
            if let Some(path) = it.read.as_deref().filter(|path| !is_path(path)) {
                findings.error(
                    LINT,
                    format!("`{path}` is no path into an answer"),
                    &at(&place, "read"),
                    "Write for example `server.id`, `items[k=v].name` or `server|[]`.",
                );
            }
            for (key, sample) in [("example", &it.example), ("other", &it.other)] {
                for Reference { address, .. } in sample.iter().flat_map(references) {
                    if spec.needs.contains_key(address.as_str()) {
                        continue;
                    }
                    let help = did_you_mean(address.as_str(), spec.needs.keys().map(String::as_str), || {
                        "Name it in the type's `needs`.".to_owned()
                    });
                    findings.error(
                        Code::ProviderUnknownField,
                        format!("an example refers to `{address}`, which the type does not need"),
                        &at(&place, key),
                        help,
                    );
                }
            }
        }
    }
    for (name, it) in &spec.fields {
        let inside = match &it.kind {
            FieldType::List(inner) => match &**inner {
                FieldType::Record(inside) => Some(inside),
                _ => None,
            },
            _ => None,
        };
        for (index, part) in it.split.iter().enumerate() {
            let list = inside.and_then(|inside| inside.get(part));
            if !list.is_some_and(|list| matches!(list.kind, FieldType::List(_))) {
                findings.error(
                    LINT,
                    format!("`{name}` is split by `{part}`, which is no list of its items"),
                    &at(&at(&at(&at(here, "fields"), name.as_str()), "split"), index),
                    "Name lists of the records that this list is made of.",
                );
            }
        }
    }
    for (address, need) in &spec.needs {
        let Some((provider, kind)) = need.get("$type").and_then(|kind| kind.as_str()?.split_once('.')) else {
            continue;
        };
        if provider == manifest.name && !manifest.types.contains_key(kind) {
            let help = did_you_mean(kind, manifest.types.keys().map(String::as_str), || {
                "Name one of the types of this manifest.".to_owned()
            });
            let message = format!("`needs` names the unknown type `{kind}`");
            findings.error(Code::ProviderUnknownField, message, &at(&at(here, "needs"), address.as_str()), help);
        }
    }
}

/// Whether a text is a path of `wire`'s language, as far as its form tells.
fn is_path(path: &str) -> bool {
    if path.len() > 1 && path.starts_with('=') {
        return true;
    }
    let path = path.strip_suffix('!').unwrap_or(path);
    let step = |step: &str| match step.split_once('[') {
        None => !step.trim().is_empty() && !step.contains(']'),
        Some((_, rest)) => rest.strip_suffix(']').is_some_and(|key| !key.contains(['[', ']'])),
    };
    let alternatives: Vec<&str> = path.split('|').collect();
    alternatives.iter().enumerate().all(|(at, one)| match *one {
        "[]" => at > 0 && at + 1 == alternatives.len(),
        one => path_steps(one).all(step),
    })
}
