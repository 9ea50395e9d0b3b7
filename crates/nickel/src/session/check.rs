//! Owns parsing and typechecking each source on its own.

use super::{Done, Session};
use crate::explain;
use crate::job::Answer;
use crate::request::{Request, Source};
use nickel_lang_core::ast::InputFormat;
use nickel_lang_core::cache::CacheError;
use nickel_lang_core::error::Error;
use nickel_lang_core::files::FileId;
use nickel_lang_core::typecheck::TypecheckMode;

impl Session {
    pub(super) fn check(&mut self, request: &Request) -> Done {
        let contracts = request.contracts.iter().map(|path| Source::File(path.clone()));
        let sources: Vec<Source> = request.sources.iter().cloned().chain(contracts).collect();
        let (mut all, mut ids) = (Vec::new(), Vec::new());
        for source in &sources {
            let id = match self.file_id(source) {
                Ok(id) => id,
                Err(failure) => {
                    all.extend(failure.into_diagnostics());
                    continue;
                }
            };
            ids.push(id);
            if let Err(failure) = self.vet(request, id) {
                all.extend(failure.into_diagnostics());
                self.forget_unsettled();
                continue;
            }
            match self.check_one(id) {
                Ok(()) => {}
                Err(error) => {
                    all.extend(self.explainer(request).error(error, &self.context.pos_table));
                    self.forget_unsettled();
                }
            }
        }
        Ok((Answer::Diagnostics(explain::distinct(all)), ids))
    }

    /// Parses one file and checks its types; a data file is only parsed.
    pub(super) fn check_one(&mut self, id: FileId) -> Result<(), Error> {
        let hub = &mut self.context.import_resolver;
        let format = hub.input_format(id).unwrap_or_default();
        if format != InputFormat::Nickel {
            hub.parse_to_term(&mut self.context.pos_table, id, format)?;
            return Ok(());
        }
        hub.parse_to_ast(id)?;
        hub.load_stdlib()?;
        match hub.typecheck(id, TypecheckMode::Walk) {
            Ok(_) => Ok(()),
            Err(CacheError::Error(error)) => Err(Error::TypecheckError(error)),
            // Only a source that was never parsed gives this, and it was parsed above.
            Err(CacheError::IncompatibleState { .. }) => Ok(()),
        }
    }
}
