//! Owns `local.tls_key`: a key pair for TLS, in PEM and as an SSH public key.

use super::{failed, text};
use crate::{CallError, Class};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use provision_model::{Json, Map};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

/// The attributes of a new key.
pub fn make(fields: &Map) -> Result<Map, CallError> {
    let algorithm = text(fields, "algorithm").unwrap_or_default();
    let (kind, ssh, curve) = match algorithm.as_str() {
        "ed25519" => (&PKCS_ED25519, "ssh-ed25519", None),
        "ecdsa_p384" => (&PKCS_ECDSA_P384_SHA384, "ecdsa-sha2-nistp384", Some("nistp384")),
        _ => (&PKCS_ECDSA_P256_SHA256, "ecdsa-sha2-nistp256", Some("nistp256")),
    };
    let key = KeyPair::generate_for(kind)
        .map_err(|error| failed(Class::NotSent, format!("the system makes no key: {error}")))?;
    Ok(Map::from_iter([
        ("private_key".to_owned(), Json::from(key.serialize_pem())),
        ("public_key".to_owned(), Json::from(key.public_key_pem())),
        ("public_key_openssh".to_owned(), Json::from(openssh(ssh, curve, key.public_key_raw()))),
    ]))
}

/// A public key as `authorized_keys` has it (RFC 4253, RFC 5656, RFC 8709).
fn openssh(kind: &str, curve: Option<&str>, point: &[u8]) -> String {
    let parts = [Some(kind.as_bytes()), curve.map(str::as_bytes), Some(point)];
    let mut blob = Vec::new();
    for part in parts.into_iter().flatten() {
        blob.extend(u32::try_from(part.len()).unwrap_or_default().to_be_bytes());
        blob.extend(part);
    }
    format!("{kind} {}", STANDARD.encode(blob))
}
