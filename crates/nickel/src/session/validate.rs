//! Owns applying one contract to many rows: it is compiled at the first batch and kept for the next.

use super::{Done, Session};
use crate::data;
use crate::explain;
use crate::job::{Answer, RowVerdict};
use crate::positions::path_text;
use crate::request::Request;
use crate::walk::Place;
use nickel_lang_core::error::Error;
use nickel_lang_core::eval::value::NickelValue;
use nickel_lang_core::eval::{Closure, VirtualMachine};
use nickel_lang_core::files::FileId;
use nickel_lang_core::mk_app;
use nickel_lang_core::program::FieldPath;
use provision_diagnostic::Failure;
use serde_json::Value;

/// A function of one row.
pub(super) struct Validator {
    /// What it was compiled for.
    text: String,
    apply: NickelValue,
    /// Where the contract is written, for what its own labels do not say.
    place: Place,
}

impl Session {
    pub(super) fn validate(&mut self, request: &Request, rows: &[Value]) -> Done {
        let main = self.main_id(request)?;
        let (apply, place) = self.validator(request, main)?;
        let mut verdicts = Vec::with_capacity(rows.len());
        for row in rows {
            let applied = mk_app!(apply.clone(), data::value(row));
            let (value, _, found) = self.walk_found(request, applied, &FieldPath::new())?;
            let mut errors = Vec::new();
            if !found.is_empty() {
                let mut explainer = self.explainer(request);
                for mut one in found {
                    one.chain.push(place);
                    let path = path_text(&one.path);
                    let mut told = explainer.found(one, &self.context.pos_table);
                    if !path.is_empty() {
                        told.message = format!("`{path}`: {}", told.message);
                    }
                    errors.push(told);
                }
            }
            verdicts.push(RowVerdict { value, errors: explain::distinct(errors) });
        }
        Ok((Answer::Rows(verdicts), vec![main]))
    }

    fn validator(&mut self, request: &Request, main: FileId) -> Result<(NickelValue, Place), Failure> {
        // The contract itself first: what is wrong in it is told as such, and not as the fault of a row.
        let prepared = self.prepare(request, main)?;
        let field = self.field_path(request)?;
        let within = field.to_string();
        let within = if within.is_empty() { within } else { format!(".{within}") };
        let text = format!("let contract = {}{within} in fun row => (row | contract)", self.import_text(main));
        if let Some(kept) = self.validator.as_ref().filter(|kept| kept.text == text) {
            return Ok((kept.apply.clone(), kept.place));
        }
        let contract =
            VirtualMachine::new(&mut self.context).extract_field_value_closure(Closure::from(prepared), &field);
        let contract = contract.map_err(|error| self.failure(request, Error::EvalError(error)))?;
        let place = Place::Index(contract.value.pos_idx());
        let joint = self.joint(text.clone());
        let apply = self.prepare(request, joint)?;
        self.validator = Some(Validator { text, apply: apply.clone(), place });
        Ok((apply, place))
    }
}
