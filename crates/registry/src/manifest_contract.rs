//! Owns `provider.ncl`, the Nickel contract of a manifest for its author's editor.

use provision_nickel::Library;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// What a manifest imports it as.
pub const NAME: &str = "provider.ncl";
/// The generated file; a test holds it against `generate`.
pub const TEXT: &str = include_str!("../../../schemas/provider_contract.ncl");

/// What a manifest can import from any folder.
pub fn library() -> Arc<Library> {
    static LIBRARY: OnceLock<Arc<Library>> = OnceLock::new();
    let new = || Arc::new(Library { files: BTreeMap::from([(NAME.to_owned(), TEXT.to_owned())]) });
    LIBRARY.get_or_init(new).clone()
}

#[cfg(test)]
mod generate;
