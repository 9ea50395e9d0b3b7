//! Owns Hetzner's SSH keys.

use super::{Answer, Cx, invalid, no_such_method, public, taken};
use crate::call::Reply;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use serde_json::json;

/// Answers `/ssh_keys…`.
pub fn answer(cx: &mut Cx<'_>, rest: &[&str]) -> Answer {
    match (cx.call.method.as_str(), rest) {
        ("GET", []) => {
            let wanted = cx.call.param("fingerprint");
            cx.page("ssh_keys", "ssh_key", public, |key| wanted.is_none_or(|one| key["fingerprint"] == one))
        }
        ("POST", []) => create(cx),
        ("GET", [id]) => Ok(Reply::json(200, &json!({"ssh_key": public(&cx.find("ssh_key", id)?)}))),
        ("PUT", [id]) => {
            let key = cx.rename("ssh_key", id)?;
            Ok(Reply::json(200, &json!({"ssh_key": public(&key)})).about(id))
        }
        ("DELETE", [id]) => {
            cx.find("ssh_key", id)?;
            cx.world.store.remove(&cx.scope, "ssh_key", id);
            Ok(Reply::empty().about(id))
        }
        _ => Err(no_such_method()),
    }
}

fn create(cx: &mut Cx<'_>) -> Answer {
    let name = cx.required("name")?;
    let public_key = cx.required("public_key")?;
    let labels = cx.labels()?.unwrap_or_else(|| json!({}));
    let fingerprint = fingerprint(&public_key).ok_or_else(|| invalid("public_key", "invalid public key"))?;
    cx.name_free("ssh_key", &name, None)?;
    if cx
        .world
        .store
        .rows(&cx.scope, "ssh_key", cx.call.now)
        .any(|row| row.value["fingerprint"] == fingerprint.as_str())
    {
        return Err(taken("public_key", "SSH key with the same fingerprint already exists"));
    }
    let id = cx.next_id();
    let key = json!({
        "id": id, "name": name, "fingerprint": fingerprint, "public_key": public_key, "labels": labels, "created": cx.time(),
    });
    cx.put("ssh_key", key.clone());
    Ok(Reply::json(201, &json!({ "ssh_key": key })).about(id))
}

/// The MD5 of an OpenSSH key's blob in colons; `None` when the text is not a public key.
pub fn fingerprint(key: &str) -> Option<String> {
    let mut words = key.split_whitespace();
    let kind = words.next()?;
    let blob = STANDARD.decode(words.next()?).ok()?;
    // The blob starts with the length and text of its own kind.
    let named = blob.get(4..4 + kind.len())?;
    if named != kind.as_bytes() {
        return None;
    }
    Some(Md5::digest(&blob).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"))
}
