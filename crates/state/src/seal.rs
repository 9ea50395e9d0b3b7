//! Owns sealing: sensitive values are encrypted before they are stored, and compared by keyed digest.

use crate::{file_io, io};
use age::secrecy::ExposeSecret;
use base64::Engine;
use hmac::{Hmac, Mac};
use provision_diagnostic::{Code, Failure, SecretTexts};
use provision_model::{Json, Map, canonical, secret_texts};
use sha2::Sha256;
use std::path::Path;
use std::sync::Arc;

const BASE64: base64::engine::GeneralPurpose = base64::engine::general_purpose::STANDARD_NO_PAD;

/// The file of the key, beside the state.
pub(crate) const KEY: &str = "identity.txt";
/// The file of a key that is about to take its place.
pub(crate) const NEXT: &str = "identity.next.txt";

/// Encrypts to, and decrypts with, the key of one state. Has no `Debug`: it must not be printed.
pub struct Sealer {
    identity: age::x25519::Identity,
    /// What was sealed and opened with it: none of it may be shown.
    texts: Arc<SecretTexts>,
}

impl Sealer {
    /// The key beside the state (`identity.txt`, readable by its owner only), made when it is not there.
    pub fn open(folder: &Path) -> Result<Sealer, Failure> {
        let path = folder.join(KEY);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let identity = text
                    .lines()
                    .find(|line| line.starts_with("AGE-SECRET-KEY-"))
                    .and_then(|line| line.trim().parse().ok())
                    .ok_or_else(|| io("read the key of", &format!("{} holds no age identity", path.display())))?;
                Ok(Sealer::of(identity))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let sealer = Sealer::of(age::x25519::Identity::generate());
                match sealer.keep(&path) {
                    Ok(true) => Ok(sealer),
                    // Somebody else made it in the same instant.
                    Ok(false) => Self::open(folder),
                    Err(error) => Err(file_io("write the key of", &error)),
                }
            }
            Err(error) => Err(file_io("read the key of", &error)),
        }
    }

    /// Writes the key into a file, all of it at once, readable by its owner only; false where there is one already.
    pub(crate) fn keep(&self, path: &Path) -> std::io::Result<bool> {
        let secret = self.identity.to_string();
        let lines = zeroize::Zeroizing::new(format!(
            "# public key: {}\n{}\n",
            self.identity.to_public(),
            secret.expose_secret()
        ));
        crate::files::write_new(path, &lines)
    }

    /// The same key once more.
    pub(crate) fn again(&self) -> Sealer {
        Sealer { identity: self.identity.clone(), texts: self.texts.clone() }
    }

    /// The key that was to take the place of the one beside the state, where a crash kept it from it.
    pub(crate) fn next(folder: &Path, public_key: &str) -> Option<Sealer> {
        let text = std::fs::read_to_string(folder.join(NEXT)).ok()?;
        let key = text.lines().find(|line| line.starts_with("AGE-SECRET-KEY-"))?;
        Sealer::from_key(key).ok().filter(|sealer| sealer.public_key() == public_key)
    }

    /// A key that is not kept in a file.
    pub fn from_key(text: &str) -> Result<Sealer, Failure> {
        let identity = text.trim().parse().map_err(|_| {
            Failure::new(Code::StateIo, "the key of the state is no age identity: PROVISION_STATE_KEY")
                .with_help("Set it to the line of the state's identity.txt that begins with AGE-SECRET-KEY-.")
        })?;
        Ok(Sealer::of(identity))
    }

    fn of(identity: age::x25519::Identity) -> Sealer {
        Sealer { identity, texts: Arc::default() }
    }

    /// Remembers the secret texts of a value, so that they are masked in what is told.
    pub fn note(&self, value: &Json) {
        secret_texts(value).iter().for_each(|text| self.texts.note(text));
    }

    /// The secrets that were sealed, opened or noted with this key.
    pub(crate) fn texts(&self) -> &SecretTexts {
        &self.texts
    }

    /// A key that nobody else has.
    pub fn fresh_key() -> String {
        age::x25519::Identity::generate().to_string().expose_secret().to_owned()
    }

    /// The key that signs the audit log's checkpoints, derived from the state's key.
    pub(crate) fn signing_key(&self) -> ed25519_dalek::SigningKey {
        let bytes = self.keyed(b"nu-provision audit checkpoint 1");
        ed25519_dalek::SigningKey::from_bytes(&bytes)
    }

    /// Signs a text; hexadecimal.
    pub fn sign(&self, text: &str) -> String {
        data_encoding::HEXLOWER.encode(&ed25519_dalek::Signer::sign(&self.signing_key(), text.as_bytes()).to_bytes())
    }

    /// Whether this state's key signed a text.
    pub fn is_signed(&self, text: &str, signature: &str) -> bool {
        let bytes = data_encoding::HEXLOWER.decode(signature.as_bytes()).unwrap_or_default();
        ed25519_dalek::Signature::from_slice(&bytes).is_ok_and(|signature| {
            ed25519_dalek::Verifier::verify(&self.signing_key().verifying_key(), text.as_bytes(), &signature).is_ok()
        })
    }

    /// Whether a folder has a key.
    pub fn exists(folder: &Path) -> bool {
        folder.join(KEY).exists()
    }

    /// The public half of the key.
    pub fn public_key(&self) -> String {
        self.identity.to_public().to_string()
    }

    /// The sealed form of a value: `{"$sealed": ciphertext, "digest": keyed digest}`.
    pub fn seal(&self, value: &Json) -> Result<Json, Failure> {
        self.note(value);
        let ciphertext = age::encrypt(&self.identity.to_public(), canonical(value).as_bytes())
            .map_err(|error| io("seal a value of", &error))?;
        let mut map = Map::new();
        map.insert("$sealed".into(), Json::from(BASE64.encode(ciphertext)));
        map.insert("digest".into(), Json::from(self.digest(value)));
        Ok(Json::Object(map))
    }

    /// The value of a sealed form; other values are given back as they are.
    pub fn open_value(&self, value: &Json) -> Result<Json, Failure> {
        let Some(sealed) = value.get("$sealed").and_then(Json::as_str) else { return Ok(value.clone()) };
        let ciphertext = BASE64.decode(sealed).map_err(|error| io("open a value of", &error))?;
        let plain = age::decrypt(&self.identity, &ciphertext).map_err(|error| io("open a value of", &error))?;
        let value: Json = serde_json::from_slice(&plain).map_err(|error| io("open a value of", &error))?;
        self.note(&value);
        Ok(value)
    }

    /// The value, and whether it was sealed.
    pub fn reveal(&self, value: &Json) -> Result<(Json, bool), Failure> {
        Ok((self.open_value(value)?, value.get("$sealed").is_some()))
    }

    /// Whether a plain value is the sealed one, without opening it.
    pub fn is_same(&self, plain: &Json, sealed: &Json) -> bool {
        match sealed.get("digest").and_then(Json::as_str) {
            Some(digest) => self.digest(plain) == digest,
            None => plain == sealed,
        }
    }

    /// A digest that only who has the key can make: equal values have equal ones.
    pub fn digest(&self, value: &Json) -> String {
        data_encoding::HEXLOWER.encode(&self.keyed(canonical(value).as_bytes()))
    }

    /// A proof that only who has the key can make; no digest of a value is one.
    pub(crate) fn prove(&self, text: &str) -> String {
        data_encoding::HEXLOWER.encode(&self.keyed(format!("nu-provision proof 1\n{text}").as_bytes()))
    }

    /// HMAC-SHA256 under the state's key.
    fn keyed(&self, text: &[u8]) -> [u8; 32] {
        let key = self.identity.to_string();
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes()) else { return [0; 32] };
        mac.update(text);
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_sealed_value_shows_nothing_and_opens_again() {
        let folder = tempfile::tempdir().unwrap();
        let sealer = Sealer::open(folder.path()).unwrap();
        let sealed = sealer.seal(&json!("hunter2-canary")).unwrap();
        assert!(!sealed.to_string().contains("canary"));
        let again = Sealer::open(folder.path()).unwrap();
        assert_eq!(again.open_value(&sealed).unwrap(), json!("hunter2-canary"));
        assert!(again.is_same(&json!("hunter2-canary"), &sealed) && !again.is_same(&json!("other"), &sealed));
    }
}
