//! Owns EC2's key pairs.

use super::{Answer, Cx, KEY, bad, describe, new_id, time, xml};
use crate::call::Reply;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use md5::{Digest, Md5};
use serde_json::{Value, json};

fn free(cx: &Cx<'_>, name: &str) -> Result<(), Reply> {
    match by_name(cx, name) {
        Some(_) => Err(bad("InvalidKeyPair.Duplicate", format!("The keypair '{name}' already exists."))),
        None => Ok(()),
    }
}

/// The key pair of that name.
pub fn by_name(cx: &Cx<'_>, name: &str) -> Option<Value> {
    cx.every(KEY).find(|key| key["keyName"] == name)
}

fn keep(cx: &mut Cx<'_>, name: &str, kind: &str, fingerprint: String) -> Result<Value, Reply> {
    let tags = cx.tags_for("key-pair")?;
    let id = new_id("key");
    let key = json!({"keyPairId": id, "keyFingerprint": fingerprint, "keyName": name, "keyType": kind, "tagSet": tags,
        "createTime": time(cx.now)});
    cx.put(KEY, &id, key.clone());
    Ok(key)
}

/// ImportKeyPair.
pub fn import(cx: &mut Cx<'_>) -> Answer {
    let name = cx.required("KeyName")?;
    let material = cx.required("PublicKeyMaterial")?;
    let invalid = || bad("InvalidKey.Format", "Key is not in valid OpenSSH public key format");
    let text =
        STANDARD.decode(material.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(invalid)?;
    let mut words = text.split_whitespace();
    let kind = words.next().unwrap_or_default();
    let blob = words.next().and_then(|blob| STANDARD.decode(blob).ok()).ok_or_else(invalid)?;
    let (kind, fingerprint) = match kind {
        "ssh-ed25519" => ("ed25519", STANDARD_NO_PAD.encode(sha2::Sha256::digest(&blob))),
        "ssh-rsa" => ("rsa", colons(&Md5::digest(&blob))),
        _ => return Err(invalid()),
    };
    free(cx, &name)?;
    let mut key = keep(cx, &name, kind, fingerprint)?;
    if let Some(id) = key["keyPairId"].as_str().map(str::to_owned) {
        key["_public_key"] = json!(text.trim());
        cx.put(KEY, &id, key.clone());
    }
    answer("ImportKeyPair", &key, None)
}

/// CreateKeyPair: the private key is told once and opens nothing.
pub fn create(cx: &mut Cx<'_>) -> Answer {
    let name = cx.required("KeyName")?;
    free(cx, &name)?;
    let kind = cx.params.get("KeyType").unwrap_or("rsa").to_owned();
    let mut noise = [0_u8; 384];
    noise.chunks_mut(16).for_each(|part| part.copy_from_slice(&crate::chance::number().to_le_bytes()[..part.len()]));
    let key = keep(cx, &name, &kind, colons(&Md5::digest(noise)))?;
    let material =
        format!("-----BEGIN SANDBOX PRIVATE KEY-----\n{}\n-----END SANDBOX PRIVATE KEY-----", STANDARD.encode(noise));
    answer("CreateKeyPair", &key, Some(material))
}

fn answer(action: &str, key: &Value, material: Option<String>) -> Answer {
    let fields = json!({"keyName": key["keyName"], "keyFingerprint": key["keyFingerprint"], "keyMaterial": material,
        "keyPairId": key["keyPairId"], "tagSet": key["tagSet"]});
    Ok(xml::response(action, &fields).about(key["keyPairId"].as_str().unwrap_or_default()))
}

fn colons(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// DescribeKeyPairs, which has no pages.
pub fn describe(cx: &mut Cx<'_>) -> Answer {
    let mut found = describe::select(cx, KEY, "KeyPairId")?;
    let names = cx.params.values("KeyName");
    if let Some(name) = names.iter().find(|name| !found.iter().any(|key| key["keyName"] == name.as_str())) {
        return Err(bad(KEY.not_found, format!("The key pair '{name}' does not exist")));
    }
    found.retain(|key| names.is_empty() || names.iter().any(|name| key["keyName"] == name.as_str()));
    let with_key = cx.params.get("IncludePublicKey") == Some("true");
    for key in &mut found {
        if with_key {
            key["publicKey"] = key["_public_key"].clone();
        }
    }
    Ok(xml::response("DescribeKeyPairs", &json!({ "keySet": found })))
}

/// DeleteKeyPair, which is content when there is none of that name.
pub fn delete(cx: &mut Cx<'_>) -> Answer {
    let key = match (cx.params.get("KeyPairId"), cx.params.get("KeyName")) {
        (Some(id), _) => Some(cx.find(KEY, id)?),
        (None, Some(name)) => by_name(cx, name),
        (None, None) => return Err(super::missing("KeyName")),
    };
    let id = key.as_ref().and_then(|key| key["keyPairId"].as_str()).unwrap_or_default().to_owned();
    cx.world.store.remove(&cx.scope, KEY.name, &id);
    Ok(xml::response("DeleteKeyPair", &json!({"return": true, "keyPairId": key.map(|_| id.clone())})).about(id))
}
