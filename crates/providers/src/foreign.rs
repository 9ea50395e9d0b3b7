//! Owns telling which items of a field a resource has from others, as a list of what puts them there says.

use crate::runtime::{text_of, texts};
use crate::{CallError, Control, ManifestProvider, wire};
use provision_model::{Json, Remote};
use provision_registry::TypeSpec;
use std::collections::HashSet;

impl ManifestProvider {
    /// Takes out of what is shown the items that resources have from others. The cloud is asked only where there are items.
    pub(crate) fn without_foreign(
        &self,
        spec: &TypeSpec,
        region: Option<&str>,
        found: &mut [Remote],
        control: &Control<'_>,
    ) -> Result<(), CallError> {
        for (field, rule) in &spec.foreign {
            let has = |it: &Remote| it.fields.get(field).and_then(Json::as_array).is_some_and(|it| !it.is_empty());
            if !found.iter().any(has) {
                continue;
            }
            let mut foreign: HashSet<(String, String)> = HashSet::new();
            self.pages(field, &rule.call, region, None, control, &mut |entry| {
                let Some(item) = wire::extract(entry, &rule.item).as_ref().and_then(text_of) else { return };
                let ids = |path: &str| wire::extract(entry, path).map(texts).unwrap_or_default();
                let own = rule.own.as_deref().map(ids).unwrap_or_default();
                let others = ids(&rule.of).into_iter().filter(|id| !own.contains(id));
                foreign.extend(others.map(|id| (id, item.clone())));
            })?;
            for remote in found.iter_mut() {
                if let Some(Json::Array(items)) = remote.fields.get_mut(field) {
                    let is_own =
                        |item: &Json| text_of(item).is_none_or(|item| !foreign.contains(&(remote.id.clone(), item)));
                    items.retain(is_own);
                }
            }
        }
        Ok(())
    }
}
