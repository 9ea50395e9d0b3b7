//! Owns ClientToken: the same request again gives what the first one made, another one with the same token is refused.

use super::{Cx, bad};
use crate::call::Reply;
use serde_json::json;
use sha2::{Digest, Sha256};

/// A request with a token.
pub struct Token {
    pub text: String,
    key: String,
    digest: String,
}

/// The token of a request, and the ids that an earlier one with it made.
pub fn read(cx: &Cx<'_>) -> Result<(Option<Token>, Vec<String>), Reply> {
    let Some(text) = cx.params.get("ClientToken").filter(|token| !token.is_empty()) else {
        return Ok((None, Vec::new()));
    };
    if text.len() > 64 || !text.is_ascii() {
        return Err(bad(
            "InvalidParameterValue",
            "Invalid value for parameter clientToken: at most 64 ASCII characters",
        ));
    }
    let asked = cx.params.canonical(&["ClientToken", "DryRun", "Action", "Version"]);
    let digest: String = Sha256::digest(asked.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let key = format!("{} {text}", cx.params.get("Action").unwrap_or_default());
    let before = cx.world.store.get(&cx.scope, "client_token", &key, cx.now);
    let token = Token { text: text.to_owned(), key, digest };
    let Some(before) = before else { return Ok((Some(token), Vec::new())) };
    if before["digest"] != token.digest.as_str() {
        return Err(bad(
            "IdempotentParameterMismatch",
            "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
        ));
    }
    let made = before["made"].as_array().into_iter().flatten().filter_map(|id| id.as_str().map(str::to_owned));
    Ok((Some(token), made.collect()))
}

/// Remembers what a request with a token made.
pub fn keep(cx: &mut Cx<'_>, token: Option<Token>, made: &[&str]) {
    if let Some(token) = token {
        let record = json!({"digest": token.digest, "made": made});
        cx.world.store.put(&cx.scope, "client_token", &token.key, record, cx.now);
    }
}
