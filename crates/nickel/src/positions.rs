//! Owns where data comes from: for each path of a result, the places of its key and of its value in the user's text.

use provision_diagnostic::{Excerpt, Source, excerpt};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One step of a path into data.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathElement {
    Field(String),
    Index(usize),
}

/// The dotted form of a path, `resources.web.0`.
pub fn path_text(path: &[PathElement]) -> String {
    let parts: Vec<String> = path
        .iter()
        .map(|element| match element {
            PathElement::Field(name) => name.clone(),
            PathElement::Index(index) => index.to_string(),
        })
        .collect();
    parts.join(".")
}

/// A byte range of one of the kept sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub source: u32,
    pub start: u32,
    pub end: u32,
}

/// The marks of one value and of what it holds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Node {
    pub key: Option<Mark>,
    pub value: Option<Mark>,
    pub children: Children,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) enum Children {
    #[default]
    None,
    /// Sorted by name.
    Fields(Vec<(Box<str>, Node)>),
    Items(Vec<Node>),
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Table {
    /// Name shown to users, and text.
    pub sources: Vec<(String, Arc<str>)>,
    pub root: Node,
}

/// Data path to the places in the user's text where the field's key and value are defined. Only offsets are kept; an
/// excerpt is drawn when it is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Positions {
    pub(crate) table: Arc<Table>,
}

impl Positions {
    /// Where the name of the field is written. Where only its value has a place, that.
    pub fn key(&self, path: &[PathElement]) -> Option<Excerpt> {
        let node = self.node(path)?;
        self.draw(node.key.or(node.value)?)
    }

    /// Where its value is written. Where only its name has a place, that.
    pub fn value(&self, path: &[PathElement]) -> Option<Excerpt> {
        let node = self.node(path)?;
        self.draw(node.value.or(node.key)?)
    }

    fn node(&self, path: &[PathElement]) -> Option<&Node> {
        let mut node = &self.table.root;
        for element in path {
            node = match (element, &node.children) {
                (PathElement::Field(name), Children::Fields(fields)) => {
                    let at = fields.binary_search_by(|(field, _)| (**field).cmp(name)).ok()?;
                    &fields[at].1
                }
                (PathElement::Index(index), Children::Items(items)) => items.get(*index)?,
                _ => return None,
            };
        }
        Some(node)
    }

    fn draw(&self, mark: Mark) -> Option<Excerpt> {
        let (name, text) = self.table.sources.get(mark.source as usize)?;
        Some(excerpt(Source { name, text }, mark.start as usize..mark.end as usize))
    }
}
