//! Owns the walk over an evaluated value: field by field and element by element, so that one mistake does not hide
//! its neighbours, giving data, the places it came from, and every error.

use crate::guard::{self, GuardedCache, Stop};
use crate::positions::PathElement;
use crate::{Inexact, number};
use nickel_lang_core::cache::CacheHub;
use nickel_lang_core::error::EvalError;
use nickel_lang_core::eval::VirtualMachine;
use nickel_lang_core::eval::value::{ArrayData, Container, EnumVariantData, NickelValue, ValueContentRef};
use nickel_lang_core::identifier::LocIdent;
use nickel_lang_core::position::{PosIdx, TermPos};
use nickel_lang_core::term::record::RecordData;
use provision_diagnostic::nearest;
use serde_json::{Map, Value};

/// Levels of nesting that data may have. Deeper data could not cross to Nushell, whose encoding is recursive.
const DEPTH: usize = 256;
/// Errors collected in one run; enough for any person, bounded for any file.
const ERRORS: usize = 500;

/// What was wrong at one place.
pub enum Fault {
    Eval(EvalError),
    /// A field without a definition, where its contract names it, and a sibling that may be a misspelling of it.
    Missing {
        name: String,
        declared: TermPos,
        near: Option<String>,
    },
    NotData {
        kind: &'static str,
    },
    Inexact {
        exact: String,
    },
    TooDeep,
}

/// A fault and how the walk came to it.
pub struct Found {
    pub fault: Fault,
    pub path: Vec<PathElement>,
    /// Places of the value and of what encloses it, innermost first.
    pub chain: Vec<Place>,
}

/// A place as the evaluator knows it.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    Known(TermPos),
    Index(PosIdx),
}

/// The places of one value, not yet looked up in the position table.
#[derive(Default)]
pub struct RawNode {
    /// The name in the record.
    pub key: Option<Place>,
    /// The definition, then the evaluated value.
    pub places: Vec<Place>,
    pub children: RawChildren,
}

#[derive(Default)]
pub enum RawChildren {
    #[default]
    None,
    Fields(Vec<(Box<str>, RawNode)>),
    Items(Vec<RawNode>),
}

type Machine<'a> = VirtualMachine<'a, CacheHub, GuardedCache>;

/// One walk.
pub struct Walk<'a, 'ctxt> {
    pub machine: &'a mut Machine<'ctxt>,
    pub inexact: Inexact,
    pub found: Vec<Found>,
    /// Whether the places are wanted, beside those of faults.
    places: bool,
    path: Vec<Step>,
    chain: Vec<Place>,
}

/// A step of the path, as cheap as can be: it becomes a [`PathElement`] only where there is a fault.
#[derive(Clone, Copy)]
enum Step {
    Field(LocIdent),
    Variant,
    Index(usize),
}

impl<'a, 'ctxt> Walk<'a, 'ctxt> {
    pub fn new(machine: &'a mut Machine<'ctxt>, inexact: Inexact, places: bool) -> Self {
        Self { machine, inexact, found: Vec::new(), places, path: Vec::new(), chain: Vec::new() }
    }

    fn report(&mut self, fault: Fault) {
        if self.found.len() < ERRORS {
            let chain = self.chain.iter().rev().copied().collect();
            let path = self.path.iter().map(|step| match step {
                Step::Field(id) => PathElement::Field(id.label().to_owned()),
                Step::Variant => PathElement::Field("$value".to_owned()),
                Step::Index(index) => PathElement::Index(*index),
            });
            self.found.push(Found { fault, path: path.collect(), chain });
        }
    }

    fn report_eval(&mut self, mut error: EvalError) {
        // Every error carries a copy of the whole position table; the context still has it when the error is told.
        error.ctxt.pos_table = Default::default();
        self.report(Fault::Eval(error));
        self.machine.reset();
    }

    /// Evaluates a value and everything in it.
    pub fn value(&mut self, value: NickelValue) -> (Value, RawNode) {
        if guard::interrupted() {
            std::panic::resume_unwind(Box::new(Stop::Interrupted));
        }
        let mut node = RawNode::default();
        if self.path.len() >= DEPTH {
            self.report(Fault::TooDeep);
            return (Value::Null, node);
        }
        if self.places {
            node.places.push(Place::Index(value.pos_idx()));
        }
        self.chain.push(Place::Index(value.pos_idx()));
        let json = match self.machine.eval(value) {
            Err(error) => {
                self.report_eval(error);
                Value::Null
            }
            Ok(evaluated) => {
                if self.places {
                    node.places.push(Place::Index(evaluated.pos_idx()));
                }
                self.chain.push(Place::Index(evaluated.pos_idx()));
                let json = self.content(&evaluated, &mut node);
                self.chain.pop();
                json
            }
        };
        self.chain.pop();
        (json, node)
    }

    fn content(&mut self, value: &NickelValue, node: &mut RawNode) -> Value {
        match value.content_ref() {
            ValueContentRef::Null => Value::Null,
            ValueContentRef::Bool(truth) => Value::Bool(truth),
            ValueContentRef::String(text) => Value::String(text.to_string()),
            ValueContentRef::Number(rational) => match number::to_json(rational, self.inexact) {
                Ok(json) => json,
                Err(exact) => {
                    self.report(Fault::Inexact { exact });
                    Value::Null
                }
            },
            ValueContentRef::EnumVariant(EnumVariantData { tag, arg: None }) => Value::String(tag.label().to_owned()),
            ValueContentRef::EnumVariant(EnumVariantData { tag, arg: Some(arg) }) => {
                self.path.push(Step::Variant);
                let (inner, inner_node) = self.value(arg.clone());
                self.path.pop();
                node.children = RawChildren::Fields(vec![("$value".into(), inner_node)]);
                let mut map = Map::new();
                map.insert("$tag".to_owned(), Value::String(tag.label().to_owned()));
                map.insert("$value".to_owned(), inner);
                Value::Object(map)
            }
            ValueContentRef::Array(Container::Empty) => Value::Array(Vec::new()),
            ValueContentRef::Array(Container::Alloc(data)) => self.array(data, value.pos_idx(), node),
            ValueContentRef::Record(Container::Empty) => Value::Object(Map::new()),
            ValueContentRef::Record(Container::Alloc(record)) => self.record(record, node),
            ValueContentRef::Term(_) | ValueContentRef::Thunk(_) => self.not_data("a function"),
            ValueContentRef::Type(_) => self.not_data("a type"),
            ValueContentRef::CustomContract(_) => self.not_data("a contract"),
            ValueContentRef::Label(_) => self.not_data("a contract label"),
            ValueContentRef::ForeignId(_) => self.not_data("a foreign value"),
            ValueContentRef::SealingKey(_) => self.not_data("a sealing key"),
        }
    }

    fn not_data(&mut self, kind: &'static str) -> Value {
        self.report(Fault::NotData { kind });
        Value::Null
    }

    fn array(&mut self, data: &ArrayData, pos: PosIdx, node: &mut RawNode) -> Value {
        let mut items = Vec::with_capacity(data.array.len());
        let mut nodes = Vec::new();
        // The element itself knows where it is written; with contracts applied it is a new term that does not.
        let places: Vec<PosIdx> = data.array.iter().map(NickelValue::pos_idx).collect();
        for (index, element) in data.iter_with_pending_contracts(pos).enumerate() {
            self.path.push(Step::Index(index));
            let place = Place::Index(places.get(index).copied().unwrap_or(PosIdx::NONE));
            self.chain.push(place);
            let (json, mut child) = self.value(element);
            self.chain.pop();
            self.path.pop();
            items.push(json);
            if self.places {
                child.places.insert(0, place);
                nodes.push(child);
            }
        }
        node.children = RawChildren::Items(nodes);
        Value::Array(items)
    }

    fn record(&mut self, record: &RecordData, node: &mut RawNode) -> Value {
        let mut entries: Vec<_> = record.fields.iter().collect();
        entries.sort_by(|a, b| a.0.label().cmp(b.0.label()));
        let mut map = Map::with_capacity(entries.len());
        let mut nodes: Vec<(Box<str>, RawNode)> = Vec::new();
        for (id, field) in entries {
            if field.metadata.not_exported() || field.is_empty_optional() {
                continue;
            }
            let name = id.label();
            self.path.push(Step::Field(*id));
            match (&field.value, field.value_with_pending_contracts()) {
                (Some(definition), Some(value)) => {
                    let place = Place::Index(definition.pos_idx());
                    self.chain.extend([Place::Known(id.pos), place]);
                    let (json, mut child) = self.value(value);
                    self.chain.truncate(self.chain.len() - 2);
                    map.insert(name.to_owned(), json);
                    if self.places {
                        child.key = Some(Place::Known(id.pos));
                        child.places.insert(0, place);
                        nodes.push((name.into(), child));
                    }
                }
                _ => {
                    let given =
                        record.fields.iter().filter(|(_, other)| other.value.is_some() && other.metadata.is_empty());
                    let near = nearest(name, given.map(|(id, _)| id.label())).map(str::to_owned);
                    // As the official evaluator has it: a contract's own place for the field before the record's.
                    let annotated = field.metadata.iter_annots().next();
                    let named = annotated.and_then(|annotation| annotation.label.field_name);
                    let declared = if annotated.is_some() { named.map_or(id.pos, |named| named.pos) } else { id.pos };
                    self.report(Fault::Missing { name: name.to_owned(), declared, near });
                }
            }
            self.path.pop();
        }
        node.children = RawChildren::Fields(nodes);
        Value::Object(map)
    }
}
