//! Owns the official formatting.

use super::{Done, Session};
use crate::job::Answer;
use crate::request::{Request, Source};
use provision_diagnostic::{Code, Failure};

impl Session {
    pub(super) fn format(&mut self, request: &Request) -> Done {
        let Some(source @ Source::Text { name, text, .. }) = request.sources.first() else {
            return Err(Failure::new(Code::NickelIo, "there is no text to format"));
        };
        let mut formatted = Vec::new();
        if let Err(error) = nickel_lang_core::format::format(text.as_bytes(), &mut formatted) {
            // The parser tells what is wrong better than the formatter does.
            let id = self.file_id(source)?;
            if let Err(error) = super::imports_of(&self.context.import_resolver, id) {
                return Err(self.failure(request, error));
            }
            return Err(Failure::new(Code::NickelParse, format!("{name} cannot be formatted: {error}"))
                .with_help("The formatter has a grammar of its own, which does not know this syntax."));
        }
        let text = String::from_utf8(formatted)
            .map_err(|_| Failure::new(Code::NickelParse, format!("{name} cannot be formatted as UTF-8 text")))?;
        Ok((Answer::Text(text), Vec::new()))
    }
}
