//! Owns `local.tls_key`: a key pair for TLS, in PEM and as an SSH public key.

use super::random::bytes;
use super::{failed, text};
use crate::{CallError, Class};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use provision_model::{Json, Map};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

/// The attributes of a new key.
pub fn make(fields: &Map) -> Result<Map, CallError> {
    let algorithm = text(fields, "algorithm").unwrap_or_default();
    let (key, ssh, curve) = match algorithm.as_str() {
        "ed25519" => (ed25519(), "ssh-ed25519", None),
        "ecdsa_p384" => {
            (KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).map_err(unmade), "ecdsa-sha2-nistp384", Some("nistp384"))
        }
        "" | "ecdsa_p256" => {
            (KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(unmade), "ecdsa-sha2-nistp256", Some("nistp256"))
        }
        _ => return Err(failed(Class::Rejected, "there is no such `algorithm`")),
    };
    let key = key?;
    Ok(Map::from_iter([
        ("private_key".to_owned(), Json::from(key.serialize_pem())),
        ("public_key".to_owned(), Json::from(key.public_key_pem())),
        ("public_key_openssh".to_owned(), Json::from(openssh(ssh, curve, key.public_key_raw()))),
    ]))
}

fn unmade(error: rcgen::Error) -> CallError {
    failed(Class::NotSent, format!("the system makes no key: {error}"))
}

/// What stands before the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410, section 7).
const PKCS8_ED25519: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Written by hand, because `ring` adds the public key in a form that OpenSSL does not read.
fn ed25519() -> Result<KeyPair, CallError> {
    let der = [PKCS8_ED25519.to_vec(), bytes(32)?].concat();
    KeyPair::from_pkcs8_der_and_sign_algo(&der.as_slice().into(), &PKCS_ED25519).map_err(unmade)
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
