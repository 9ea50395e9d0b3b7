//! Owns turning the places a walk met into positions of data: for each path, the user's own name and value.

use super::Session;
use crate::Positions;
use crate::positions::{Children, Mark, Node, Table};
use crate::request::Request;
use crate::walk::{Place, RawChildren, RawNode};
use nickel_lang_core::ast::{Ast, AstAlloc, InputFormat, Node as AstNode, record::FieldPathElem};
use nickel_lang_core::cache::CacheHub;
use nickel_lang_core::files::FileId;
use nickel_lang_core::position::TermPos;
use nickel_lang_core::traverse::{TraverseAlloc, TraverseControl};
use std::collections::HashMap;
use std::sync::Arc;

pub type Offsets = (u32, u32);

impl Session {
    pub(super) fn positions(&mut self, request: &Request, main: FileId, raw: &RawNode) -> Positions {
        let mut ids: Vec<FileId> =
            self.context.import_resolver.import_data.transitive_imports(main).into_iter().chain([main]).collect();
        ids.retain(|id| self.explainer(request).is_user(*id));
        for id in &ids {
            if !self.keys.contains_key(id) {
                let keys = field_keys(&self.context.import_resolver, *id);
                self.keys.insert(*id, keys);
            }
        }
        let explainer = self.explainer(request);
        let sources =
            ids.iter().map(|id| (explainer.name(*id), self.context.import_resolver.sources.clone_source(*id)));
        let mut marker = Marker { session: self, index: HashMap::new() };
        for (at, id) in ids.iter().enumerate() {
            marker.index.insert(*id, u32::try_from(at).unwrap_or(u32::MAX));
        }
        let table = Table { sources: sources.collect(), root: marker.node(raw) };
        Positions { table: Arc::new(table) }
    }
}

/// Turns the walk's places into marks.
struct Marker<'a> {
    session: &'a Session,
    index: HashMap<FileId, u32>,
}

impl Marker<'_> {
    fn mark(&self, place: &Place) -> Option<(FileId, Mark)> {
        let pos = match place {
            Place::Known(pos) => *pos,
            Place::Index(index) => self.session.context.pos_table.get(*index),
        };
        let span = pos.into_opt()?;
        let source = *self.index.get(&span.src_id)?;
        Some((span.src_id, Mark { source, start: span.start.0, end: span.end.0 }))
    }

    fn node(&self, raw: &RawNode) -> Node {
        let value = raw.places.iter().find_map(|place| self.mark(place));
        // A merged field keeps the name of the left side, often the library's; the name beside the value is the user's.
        let beside = value.and_then(|(id, mark)| {
            let (start, end) = *self.session.keys.get(&id)?.get(&(mark.start, mark.end))?;
            Some(Mark { source: mark.source, start, end })
        });
        let key = beside.or_else(|| Some(self.mark(raw.key.as_ref()?)?.1));
        let children = match &raw.children {
            RawChildren::None => Children::None,
            RawChildren::Fields(fields) => {
                Children::Fields(fields.iter().map(|(name, child)| (name.clone(), self.node(child))).collect())
            }
            RawChildren::Items(items) => Children::Items(items.iter().map(|child| self.node(child)).collect()),
        };
        Node { key, value: value.map(|(_, mark)| mark), children }
    }
}

/// For each field definition of a file, the place of its value and of its name.
fn field_keys(hub: &CacheHub, id: FileId) -> HashMap<Offsets, Offsets> {
    let mut keys = HashMap::new();
    if hub.sources.input_format(id) != Some(InputFormat::Nickel) {
        return keys;
    }
    let alloc = AstAlloc::new();
    let Ok(ast) = hub.sources.parse_nickel(&alloc, id) else { return keys };
    let offsets = |pos: TermPos| -> Option<Offsets> { pos.into_opt().map(|span| (span.start.0, span.end.0)) };
    let _: Option<()> = ast.traverse_ref(
        &mut |node: &Ast<'_>, _: &()| {
            if let AstNode::Record(record) = &node.node {
                for field in record.field_defs {
                    let name = match field.path.last() {
                        Some(FieldPathElem::Ident(id)) => offsets(id.pos),
                        Some(FieldPathElem::Expr(expression)) => offsets(expression.pos),
                        None => None,
                    };
                    let value = field.value.as_ref().and_then(|value| offsets(value.pos));
                    if let (Some(name), Some(value)) = (name, value) {
                        keys.insert(value, name);
                    }
                }
            }
            TraverseControl::Continue
        },
        &(),
    );
    keys
}
