//! Owns telling the metadata of one field, and the names of the fields beneath one.

use super::{Done, Session};
use crate::job::{Answer, FieldInfo};
use crate::request::Request;
use nickel_lang_core::ast::MergePriority;
use nickel_lang_core::error::{Error, EvalError};
use nickel_lang_core::eval::value::{Container, NickelValue};
use nickel_lang_core::eval::{Closure, VirtualMachine};
use nickel_lang_core::position::TermPos;
use nickel_lang_core::program::FieldPath;
use nickel_lang_core::term::record::{Field, SharedMetadata};
use serde_json::Value;

impl Session {
    pub(super) fn query(&mut self, request: &Request) -> Done {
        let main = self.main_id(request)?;
        let prepared = self.prepare(request, main)?;
        let path = self.field_path(request)?;
        let (field, key) =
            self.look_up(&prepared, &path).map_err(|error| self.failure(request, Error::EvalError(error)))?;
        // What is there but not data has no value here; the field is still described.
        let value = match field.value.is_some() {
            true => self.walk(request, prepared, &path).ok().filter(|(_, _, mistakes)| mistakes.is_empty()),
            false => None,
        };
        let value = value.map(|(value, _, _)| value);
        let place = match key.into_opt() {
            Some(span) => Some(span),
            None => field.value.as_ref().and_then(|value| self.context.pos_table.get(value.pos_idx()).into_opt()),
        };
        let described = describe(&field.metadata);
        let info = FieldInfo {
            path: path.to_string(),
            kind: described.kind,
            contracts: described.contracts,
            doc: field.metadata.doc().map(str::to_owned),
            default: value.clone().filter(|_| described.priority.as_deref() == Some("default")),
            value,
            optional: field.metadata.opt(),
            not_exported: field.metadata.not_exported(),
            priority: described.priority,
            position: place.map(|span| self.explainer(request).position_of(span)),
            fields: field.value.as_ref().and_then(names),
        };
        Ok((Answer::Field(Box::new(info)), vec![main]))
    }

    /// A field, its value evaluated to the first level, and where its name is written.
    pub(super) fn look_up(&mut self, prepared: &NickelValue, path: &FieldPath) -> Result<(Field, TermPos), EvalError> {
        let mut machine = VirtualMachine::new(&mut self.context);
        let mut key = TermPos::None;
        if let [above @ .., last] = &path.0[..] {
            let parent = machine.query_closure(Closure::from(prepared.clone()), &FieldPath(above.to_vec()))?;
            if let Some(Container::Alloc(record)) = parent.value.as_ref().and_then(NickelValue::as_record) {
                let found = record.fields.keys().find(|id| id.label() == last.label());
                key = found.map_or(TermPos::None, |id| id.pos);
            }
        }
        Ok((machine.query_closure(Closure::from(prepared.clone()), path)?, key))
    }

    pub(super) fn fields(&mut self, request: &Request) -> Done {
        let main = self.main_id(request)?;
        let prepared = self.prepare(request, main)?;
        let path = self.field_path(request)?;
        let (field, _) =
            self.look_up(&prepared, &path).map_err(|error| self.failure(request, Error::EvalError(error)))?;
        let names = field.value.as_ref().and_then(names).unwrap_or_default();
        Ok((Answer::Names(names), vec![main]))
    }
}

/// The names of the fields of a record, sorted.
fn names(value: &NickelValue) -> Option<Vec<String>> {
    let mut names: Vec<String> = match value.as_record()? {
        Container::Empty => Vec::new(),
        Container::Alloc(record) => record.fields.keys().map(|id| id.label().to_owned()).collect(),
    };
    names.sort();
    Some(names)
}

/// The annotations of a field as text.
pub(super) struct Described {
    pub kind: Option<String>,
    pub contracts: Vec<String>,
    pub priority: Option<String>,
}

pub(super) fn describe(metadata: &SharedMetadata) -> Described {
    let Some(metadata) = metadata.as_ref() else {
        return Described { kind: None, contracts: Vec::new(), priority: None };
    };
    Described {
        // What the label keeps is what the user wrote; the type itself may be elaborated.
        kind: metadata.annotation.typ.as_ref().map(|of| of.label.typ.to_string()),
        contracts: metadata.annotation.contracts.iter().map(|of| of.label.typ.to_string()).collect(),
        priority: match &metadata.priority {
            MergePriority::Neutral => None,
            MergePriority::Bottom => Some("default".to_owned()),
            MergePriority::Top => Some("force".to_owned()),
            MergePriority::Numeral(number) => Some(number.to_string()),
        },
    }
}

/// Data where it is there and the walk found no mistake.
pub(super) fn data(session: &mut Session, request: &Request, value: NickelValue) -> Option<Value> {
    let (value, _, mistakes) = session.walk(request, value, &FieldPath::new()).ok()?;
    mistakes.is_empty().then_some(value)
}
