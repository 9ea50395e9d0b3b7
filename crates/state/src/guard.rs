//! Owns that a secret of the state is in clear nowhere: not in what is told, and not in what a cloud repeats of it in a row.

use crate::{Entry, Store, io};
use provision_diagnostic::{Failure, Masker};
use provision_model::{Json, Map, Resource, is_sealed, secret_texts};
use std::borrow::Cow;

/// In a row a shorter secret is left alone: a word such as `root` may stand there for itself.
const IN_ROWS: usize = 7;

impl Store {
    /// The text without the secrets that the state keeps, and those that this process came to know.
    pub fn mask(&self, text: &str) -> String {
        // What cannot be read cannot be repeated by a cloud that is asked now: what was opened meanwhile is known anyway.
        self.swept.get_or_init(|| _ = self.open_all());
        self.sealer().texts().mask(text)
    }

    /// Opens everything that the state keeps sealed, once.
    fn open_all(&self) -> Result<(), Failure> {
        let open = |map: &Map| map.values().for_each(|value| self.open_within(value));
        for resource in self.resources()? {
            open(&resource.inputs);
            open(&resource.attributes);
        }
        for entry in self.open_entries()? {
            [&entry.body.inputs, &entry.body.declared, &entry.body.once].into_iter().for_each(open);
        }
        let accounts: Json = serde_json::to_value(self.accounts::<Json>()?).map_err(|error| io("read", &error))?;
        self.open_within(&accounts);
        Ok(())
    }

    fn open_within(&self, value: &Json) {
        match value {
            // One that does not open was sealed with a key that is not there: nobody can repeat it from here.
            sealed if is_sealed(sealed) => _ = self.sealer().open_value(sealed),
            Json::Array(items) => items.iter().for_each(|item| self.open_within(item)),
            Json::Object(map) => map.values().for_each(|item| self.open_within(item)),
            _ => {}
        }
    }

    /// Finds a resource's own secrets in what a cloud shows of it.
    pub fn secrets_of(&self, resource: &Resource) -> Result<Masker, Failure> {
        self.secrets_in(resource.inputs.values().chain(resource.attributes.values()))
    }

    /// Finds the secrets that are sealed in some values.
    fn secrets_in<'v>(&self, values: impl Iterator<Item = &'v Json>) -> Result<Masker, Failure> {
        let sealer = self.sealer();
        let mut secrets: Vec<String> = Vec::new();
        for sealed in values.filter(|value| is_sealed(value)) {
            for text in secret_texts(&sealer.open_value(sealed)?) {
                // A part of a `$join` is known where it was put together.
                secrets.extend(sealer.texts().within(&text).iter().map(ToString::to_string));
                secrets.push(text);
            }
        }
        Ok(Masker::longer_than(IN_ROWS, secrets))
    }

    /// What a cloud told during an operation, with every value sealed in which it repeats a secret: one of what it was sent,
    /// or of what the state has of the resource.
    pub(crate) fn told_sealed(&self, entry: &Entry, told: &Map) -> Result<Map, Failure> {
        if told.is_empty() {
            return Ok(Map::new());
        }
        let before = self.resource(entry.body.address.as_str())?;
        let before = before.iter().flat_map(|it| it.inputs.values().chain(it.attributes.values()));
        let masker = self.secrets_in(entry.body.inputs.values().chain(told.values()).chain(before))?;
        let mut told = told.clone();
        told.extend(self.sealed_repeats(&masker, &told)?);
        Ok(told)
    }

    /// Those of some values in which a secret is repeated, sealed.
    fn sealed_repeats(&self, masker: &Masker, values: &Map) -> Result<Map, Failure> {
        let repeats = values.iter().filter(|(_, value)| !is_sealed(value) && masker.is_in_json(value));
        repeats.map(|(name, value)| Ok((name.clone(), self.sealer().seal(value)?))).collect()
    }

    /// The resource with every value sealed in which the cloud repeats one of its secrets: `user_data` in a description, a
    /// password in a connection string. It stays what it is, for whoever refers to it, and is secret from then on.
    pub fn with_secrets_sealed<'r>(&self, resource: &'r Resource) -> Result<Cow<'r, Resource>, Failure> {
        let masker = self.secrets_of(resource)?;
        let inputs = self.sealed_repeats(&masker, &resource.inputs)?;
        let attributes = self.sealed_repeats(&masker, &resource.attributes)?;
        if inputs.is_empty() && attributes.is_empty() {
            return Ok(Cow::Borrowed(resource));
        }
        let mut kept = resource.clone();
        kept.inputs.extend(inputs);
        kept.attributes.extend(attributes);
        Ok(Cow::Owned(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use provision_model::Address;
    use serde_json::json;

    #[test]
    fn what_a_cloud_repeats_of_a_secret_is_sealed_with_it() {
        let store = Store::in_memory().unwrap();
        let sealed = store.sealer().seal(&json!("postgres://app:canary-7001@db/x")).unwrap();
        let mut resource = Resource::new(Address::new("it"), "acme.db", "acme", "1", Default::default());
        resource.inputs.insert("url".into(), sealed);
        resource.inputs.insert("name".into(), json!("x"));
        resource.attributes.insert("echo".into(), json!({"list": ["Password=canary-7001;"]}));
        resource.attributes.insert("ip".into(), json!("192.0.2.7"));
        let kept = store.with_secrets_sealed(&resource).unwrap();
        assert!(is_sealed(&kept.attributes["echo"]) && !serde_json::to_string(&kept).unwrap().contains("canary"));
        assert_eq!((&kept.attributes["ip"], &kept.inputs["name"]), (&json!("192.0.2.7"), &json!("x")));
        assert_eq!(store.sealer().open_value(&kept.attributes["echo"]).unwrap(), resource.attributes["echo"]);
        assert_eq!(store.mask("no user app with canary-7001"), "no user app with <sensitive>");
    }
}
