//! Owns what others put into a resource: labels of a resource that declares none. They are nothing of ours, so a plan does
//! not see them and a step does not take them away. Pure.

use provision_model::{Json, Map};
use provision_registry::TypeSpec;

/// Takes out of the fields that a cloud shows what others put there: what is neither wanted now nor was applied last.
pub fn leave_out(spec: &TypeSpec, shown: &mut Map, wanted: &Map, applied: &Map) {
    for (name, value) in shown.iter_mut().filter(|(name, _)| spec.leaves_others(name, wanted.get(*name))) {
        let ours = [wanted.get(name), applied.get(name)];
        let ours = || ours.iter().flatten();
        if let Json::Object(map) = value {
            map.retain(|key, _| ours().any(|it| it.get(key).is_some()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use provision_nickel::Evaluator;
    use provision_registry::Registry;
    use serde_json::json;

    fn left(kind: &str, shown: Json, wanted: Json, applied: Json) -> Json {
        let registry = Registry::load(None, None, &Evaluator::default()).unwrap();
        let (_, spec) = registry.type_of(kind).unwrap();
        let (mut shown, wanted, applied) = match (shown, wanted, applied) {
            (Json::Object(shown), Json::Object(wanted), Json::Object(applied)) => (shown, wanted, applied),
            _ => panic!("three records"),
        };
        leave_out(spec, &mut shown, &wanted, &applied);
        Json::Object(shown)
    }

    #[test]
    fn labels_of_others_are_left_out_where_none_are_declared() {
        let shown = || json!({"labels": {"used-by": "controller", "team": "shop"}});
        assert_eq!(left("hetzner.volume", shown(), json!({}), json!({})), json!({"labels": {}}));
        let before = json!({"labels": {"team": "shop"}});
        assert_eq!(left("hetzner.volume", shown(), json!({}), before.clone()), before);
        assert_eq!(left("hetzner.volume", shown(), before, json!({})), shown());
        assert_eq!(left("hetzner.volume", shown(), json!({"labels": {}}), json!({})), shown());
        // The name that a tag gets by itself declares nothing.
        let named = json!({"tags": {"Name": "a"}});
        let shown = json!({"tags": {"Name": "b", "used-by": "controller"}});
        assert_eq!(left("aws.vpc", shown, named.clone(), named), json!({"tags": {"Name": "b"}}));
    }
}
