//! Owns evaluating to data, with all mistakes of one run.

use super::{Done, Session};
use crate::cache::digest;
use crate::explain;
use crate::job::Answer;
use crate::request::{Evaluation, Input, Request};
use crate::walk::{Found, RawNode, Walk};
use nickel_lang_core::cache::SourcePath;
use nickel_lang_core::error::Error;
use nickel_lang_core::eval::value::NickelValue;
use nickel_lang_core::eval::{Closure, VirtualMachine};
use nickel_lang_core::files::FileId;
use nickel_lang_core::program::FieldPath;
use provision_diagnostic::{Diagnostic, Failure};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;

impl Session {
    pub(super) fn eval(&mut self, request: &Request) -> Done {
        let main = self.main_id(request)?;
        let prepared = self.prepare(request, main)?;
        let field = self.field_path(request)?;
        let (value, raw, mistakes) = self.walk(request, prepared, &field)?;
        let positions = match request.positions {
            true => self.positions(request, main, &raw),
            false => crate::Positions::default(),
        };
        let inputs = self.inputs(main);
        let mut hash = Sha256::new();
        for input in &inputs {
            hash.update(format!("{}\0{}\0", input.file, input.digest));
        }
        hash.update(request_text(request));
        let digest = data_encoding::HEXLOWER.encode(&hash.finalize());
        let evaluation = Evaluation { value, positions, inputs, digest };
        Ok((Answer::Evaluated(Arc::new(evaluation), mistakes), vec![main]))
    }

    /// Evaluates the field of a prepared value to data, as far as it goes.
    pub(super) fn walk(
        &mut self,
        request: &Request,
        prepared: NickelValue,
        field: &FieldPath,
    ) -> Result<(Value, RawNode, Vec<Diagnostic>), Failure> {
        let (value, raw, found) = self.walk_found(request, prepared, field)?;
        if found.is_empty() {
            return Ok((value, raw, Vec::new()));
        }
        let mut explainer = self.explainer(request);
        let all = found.into_iter().map(|one| explainer.found(one, &self.context.pos_table)).collect();
        Ok((value, raw, explain::distinct(all)))
    }

    /// The same with the faults not yet told.
    pub(super) fn walk_found(
        &mut self,
        request: &Request,
        prepared: NickelValue,
        field: &FieldPath,
    ) -> Result<(Value, RawNode, Vec<Found>), Failure> {
        let mut machine = VirtualMachine::new(&mut self.context);
        let start = match field.0.is_empty() {
            true => Ok(prepared),
            false => machine.extract_field_value_closure(Closure::from(prepared), field).map(|at| at.value),
        };
        match start {
            Ok(start) => {
                let mut walk = Walk::new(&mut machine, request.inexact, request.positions);
                let (value, raw) = walk.value(start);
                Ok((value, raw, walk.found))
            }
            Err(error) => {
                drop(machine);
                Err(self.failure(request, Error::EvalError(error)))
            }
        }
    }

    fn inputs(&self, main: FileId) -> Vec<Input> {
        let hub = &self.context.import_resolver;
        let mut ids = hub.import_data.transitive_imports(main);
        ids.insert(main);
        let mut inputs: Vec<Input> = ids
            .into_iter()
            .filter_map(|id| match hub.sources.file_paths.get(&id)? {
                SourcePath::Path(path, _) => {
                    let file = self.names.get(&id).cloned().unwrap_or_else(|| path.to_string_lossy().into_owned());
                    Some(Input { file, digest: digest(hub.sources.source(id).as_bytes()) })
                }
                _ => None,
            })
            .collect();
        inputs.sort_by(|a, b| a.file.cmp(&b.file));
        inputs.dedup();
        inputs
    }
}

/// Everything in a request that its value depends on, beside the files.
fn request_text(request: &Request) -> String {
    let Request { sources, field, overrides, contracts, import_paths, inexact, .. } = request;
    format!("{sources:?}{field:?}{overrides:?}{contracts:?}{import_paths:?}{inexact:?}")
}
