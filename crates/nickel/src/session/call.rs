//! Owns applying a function that is written in Nickel to data.

use super::{Done, Session};
use crate::data;
use crate::job::Answer;
use crate::request::{Evaluation, Request};
use nickel_lang_core::error::Error;
use nickel_lang_core::eval::{Closure, VirtualMachine};
use nickel_lang_core::mk_app;
use nickel_lang_core::program::FieldPath;
use serde_json::Value;
use std::sync::Arc;

impl Session {
    pub(super) fn call(&mut self, request: &Request, arguments: &[Value]) -> Done {
        let main = self.main_id(request)?;
        let prepared = self.prepare(request, main)?;
        let field = self.field_path(request)?;
        let mut applied = prepared.clone();
        if !field.0.is_empty() {
            // A missing field is told of the file; the text below stands in none.
            let found = VirtualMachine::new(&mut self.context).extract_field_closure(Closure::from(prepared), &field);
            found.map_err(|error| self.failure(request, Error::EvalError(error)))?;
            let joint = self.joint(format!("{}.{field}", self.import_text(main)));
            applied = self.prepare(request, joint)?;
        }
        for argument in arguments {
            applied = mk_app!(applied, data::value(argument));
        }
        let (value, _, mistakes) = self.walk(request, applied, &FieldPath::new())?;
        let evaluation =
            Evaluation { value, positions: crate::Positions::default(), inputs: Vec::new(), digest: String::new() };
        Ok((Answer::Evaluated(Arc::new(evaluation), mistakes), vec![main]))
    }
}
