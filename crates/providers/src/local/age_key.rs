//! Owns `local.age_key`: a key pair to encrypt with age.

use age::secrecy::ExposeSecret;
use provision_model::{Json, Map};

/// The attributes of a new key.
pub fn make() -> Map {
    let identity = age::x25519::Identity::generate();
    Map::from_iter([
        ("recipient".to_owned(), Json::from(identity.to_public().to_string())),
        ("identity".to_owned(), Json::from(identity.to_string().expose_secret())),
    ])
}
