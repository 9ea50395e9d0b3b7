//! Owns the flattened parameters of the query protocol: `Name`, `Name.1`, `Name.1.Field`.

use std::collections::BTreeMap;

/// Parameters below some prefix.
#[derive(Debug, Clone, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// All parameters of a request.
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// One parameter by its full name below this prefix.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The members of a list, in the order of their numbers.
    pub fn list(&self, name: &str) -> Vec<Params> {
        let mut members: BTreeMap<u32, Params> = BTreeMap::new();
        for (key, value) in &self.0 {
            let Some(rest) = key.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')) else { continue };
            let (number, field) = rest.split_once('.').unwrap_or((rest, ""));
            let Ok(number) = number.parse() else { continue };
            members.entry(number).or_default().0.push((field.to_owned(), value.clone()));
        }
        members.into_values().collect()
    }

    /// The values of a list of scalars.
    pub fn values(&self, name: &str) -> Vec<String> {
        self.list(name).iter().filter_map(|member| member.get("").map(str::to_owned)).collect()
    }

    /// Every pair but those named, sorted: what decides whether a retry asks for the same.
    pub fn canonical(&self, without: &[&str]) -> String {
        let mut pairs: Vec<String> = self
            .0
            .iter()
            .filter(|(key, _)| !without.contains(&key.as_str()))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        pairs.sort();
        pairs.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_in_the_order_of_their_numbers() {
        let pairs = [("A.10.K", "ten"), ("A.2.K", "two"), ("A.2.V.1", "x"), ("B.1", "b")];
        let params = Params::new(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        let list = params.list("A");
        assert_eq!(list.len(), 2);
        assert_eq!(list[0].get("K"), Some("two"));
        assert_eq!(list[0].values("V"), ["x"]);
        assert_eq!(params.values("B"), ["b"]);
    }
}
