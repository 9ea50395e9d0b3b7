//! Owns applying one contract to many rows: it is compiled at the first batch and kept for the next.

use super::{Done, Session};
use crate::job::{Answer, RowVerdict};
use crate::positions::path_text;
use crate::request::Request;
use crate::walk::Place;
use crate::{data, explain};
use nickel_lang_core::error::Error;
use nickel_lang_core::eval::value::NickelValue;
use nickel_lang_core::files::FileId;
use nickel_lang_core::mk_app;
use nickel_lang_core::program::FieldPath;
use provision_diagnostic::{Code, Failure};
use serde_json::Value;

/// The next step where a row breaks a contract.
const CHANGE_THE_ROW: &str = "Change the value so that it meets the contract at the marked place.";

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
                    let last = one.path.last().map(|last| path_text(std::slice::from_ref(last)));
                    let mut told = explainer.found(one, &self.context.pos_table);
                    if !path.is_empty() {
                        let again = format!(" by the value of `{}`", last.unwrap_or_default());
                        told.message = format!("`{path}`: {}", told.message.replacen(&again, "", 1));
                    }
                    // The marked place is the contract's; what is to be changed is the row.
                    let help = told.help.take().unwrap_or_default();
                    told.help = Some(help.replacen(Code::NickelEvalContract.next(), CHANGE_THE_ROW, 1));
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
        let (_, key) =
            self.look_up(&prepared, &field).map_err(|error| self.failure(request, Error::EvalError(error)))?;
        let place = match key.into_opt() {
            Some(_) => Place::Known(key),
            None => Place::Index(prepared.pos_idx()),
        };
        let joint = self.joint(text.clone());
        let apply = self.prepare(request, joint)?;
        self.validator = Some(Validator { text, apply: apply.clone(), place });
        Ok((apply, place))
    }
}
