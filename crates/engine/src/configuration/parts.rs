//! Owns whose a part is that a cloud shows in a list of the whole too: the part's own, where it is a resource by itself.

use crate::configuration::desired::with_defaults;
use crate::workspace::Workspace;
use provision_diagnostic::Code;
use provision_model::{Config, Declaration, Json, Map, Problem, Remote, parse_ref};
use provision_registry::{PartOf, Registry, TypeSpec};
use std::collections::HashMap;

/// Parts that are resources by themselves, by account, type and id of the whole: the list they stand in, and the item.
#[derive(Default)]
pub(crate) struct Parts(HashMap<(String, String, String), Vec<(String, Json)>>);

impl Parts {
    /// Adds a resource, if it is a part of something.
    pub fn add(&mut self, registry: &Registry, kind: &str, account: &str, fields: &Map) {
        let Ok((manifest, TypeSpec { part_of: Some(part), .. })) = registry.type_of(kind) else { return };
        let Some(whole) = fields.get(&part.by).and_then(Json::as_str) else { return };
        let Some((list, item)) = item_of(part, fields) else { return };
        let key = (account.to_owned(), format!("{}.{}", manifest.name, part.whole), whole.to_owned());
        self.0.entry(key).or_default().push((list, item));
    }

    /// Takes out of what a cloud shows of a whole the parts that are resources by themselves.
    pub fn take_out(&self, kind: &str, account: &str, remote: &mut Remote) {
        let key = (account.to_owned(), kind.to_owned(), remote.id.clone());
        for (list, part) in self.0.get(&key).into_iter().flatten() {
            if let Some(Json::Array(items)) = remote.fields.get_mut(list) {
                items.retain(|item| !is_item(item, part));
            }
        }
    }
}

/// Whether a type lists parts that can be resources by themselves.
pub(crate) fn has_parts(registry: &Registry, kind: &str) -> bool {
    let of = |part: &PartOf| part.whole == provision_model::type_name(kind);
    registry
        .type_of(kind)
        .is_ok_and(|(manifest, _)| manifest.types.values().any(|spec| spec.part_of.as_ref().is_some_and(of)))
}

/// Parts that are declared twice: as a resource, and as an item of the whole.
pub(crate) fn check(on: &Workspace, config: &Config, problems: &mut Vec<Problem>) {
    for declaration in &config.resources {
        let Ok((manifest, spec)) = on.project.registry.type_of(&declaration.kind) else { continue };
        let Some(part) = &spec.part_of else { continue };
        let fields = normal(spec, declaration.fields.clone());
        let Some((list, item)) = item_of(part, &fields) else { continue };
        let Some((address, _)) = fields.get(&part.by).and_then(parse_ref) else { continue };
        let kind = format!("{}.{}", manifest.name, part.whole);
        let is_whole = |it: &&Declaration| it.address == address && it.kind == kind;
        let Some(whole) = config.resources.iter().find(is_whole) else { continue };
        let Ok((_, of)) = on.project.registry.type_of(&kind) else { continue };
        let listed = normal(of, with_defaults(whole, manifest, of, &config.name, None));
        let items = listed.get(&list).and_then(Json::as_array);
        if items.is_some_and(|items| items.iter().any(|one| is_item(one, &item))) {
            let message = format!("`{}` is also an item of `{list}` of `{address}`", declaration.address);
            let help = match whole.fields.contains_key(&list) {
                true => format!("Remove it from `{list}` of `{address}`, or remove `{}`.", declaration.address),
                false => format!(
                    "It is the default there: write `{list} = []` in `{address}`, or remove `{}`.",
                    declaration.address
                ),
            };
            problems.push(Problem::value(Code::PlanTwoOwners, message, &declaration.path).help(help));
        }
    }
}

fn normal(spec: &TypeSpec, fields: Map) -> Map {
    fields.into_iter().map(|(name, value)| (name.clone(), spec.normalised(&name, value))).collect()
}

/// The list of the whole that a part stands in, and its item there.
fn item_of(part: &PartOf, fields: &Map) -> Option<(String, Json)> {
    let list = fields.get(&part.list)?.as_str()?.to_owned();
    let item = part.item.iter().filter_map(|(name, value)| Some((name.clone(), filled(value, fields)?)));
    Some((list, Json::Object(item.collect())))
}

fn filled(value: &Json, fields: &Map) -> Option<Json> {
    match value {
        Json::String(text) => match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => fields.get(name).filter(|value| !value.is_null()).cloned(),
            None => Some(value.clone()),
        },
        Json::Array(items) => {
            let items: Vec<Json> = items.iter().filter_map(|item| filled(item, fields)).collect();
            (!items.is_empty()).then_some(Json::Array(items))
        }
        other => Some(other.clone()),
    }
}

/// Whether an item of a list is that part. Of numbers each side may leave some out; its lists are the same.
fn is_item(item: &Json, part: &Json) -> bool {
    let (Some(item), Some(part)) = (item.as_object(), part.as_object()) else { return item == part };
    let some = |value: Option<&Json>| value.and_then(Json::as_array).is_some_and(|items| !items.is_empty());
    let names = item.keys().chain(part.keys());
    names.into_iter().all(|name| match (item.get(name), part.get(name)) {
        (one, other) if some(one) || some(other) => one == other,
        (Some(one), Some(other)) => one == other,
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_part_is_the_item_that_says_the_same() {
        let part = json!({"ip_protocol": "tcp", "from_port": 22, "to_port": 22, "cidr_ips": ["10.0.0.0/8"]});
        let item = |port: i64, list: &str| json!({"ip_protocol": "tcp", "from_port": port, "to_port": port, list: ["10.0.0.0/8"], "groups": []});
        assert!(is_item(&item(22, "cidr_ips"), &part));
        assert!(!is_item(&item(23, "cidr_ips"), &part));
        assert!(!is_item(&item(22, "source_groups"), &part));
        let all = json!({"ip_protocol": "-1", "from_port": -1, "cidr_ips": ["0.0.0.0/0"]});
        assert!(is_item(&json!({"ip_protocol": "-1", "cidr_ips": ["0.0.0.0/0"]}), &all));
    }
}
