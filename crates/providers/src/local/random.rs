//! Owns `local.random` and `local.random_id`: values from the operating system's source of randomness, made once.

use super::{Found, failed, flag, text};
use crate::{CallError, Class};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::HEXLOWER;
use provision_model::{Json, Map};
use rand::TryRngCore;
use rand::rngs::OsRng;

/// The classes of a password's characters. Symbols are those that a shell, a URL's user part and a YAML text take unquoted.
const CLASSES: [(&str, &str); 4] = [
    ("lower", "abcdefghijklmnopqrstuvwxyz"),
    ("upper", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    ("digits", "0123456789"),
    ("symbols", "-_.+=~"),
];

/// Length where none is given: characters of a password, bytes of the others.
const PASSWORD: i64 = 24;
const BYTES: i64 = 32;
const ID_BYTES: i64 = 8;

pub fn prepare(found: &mut Found<'_>) {
    let kind = found.text("kind").unwrap_or_else(|| "password".to_owned());
    found.number("length", 8, 4096);
    let only: Vec<&str> = ["charset", "lower", "upper", "digits", "symbols"]
        .into_iter()
        .filter(|name| kind != "password" && found.has(name) && found.known(name) != Some(&Json::Bool(true)))
        .collect();
    for name in only {
        found.object(
            name,
            format!("means nothing for the kind `{kind}`"),
            "Leave it out, or choose the kind `password`.",
        );
    }
    if kind == "uuid" && found.has("length") {
        found.object("length", "means nothing for the kind `uuid`", "Leave it out.");
    }
    if kind != "password" {
        return;
    }
    if let Some(charset) = found.text("charset") {
        let characters = distinct(&charset);
        if !(2..=256).contains(&characters.len()) {
            let message = format!("has {} different characters", characters.len());
            found.object("charset", message, "Give from 2 to 256 different characters.");
        }
        for (name, _) in CLASSES {
            if found.has(name) {
                found.object(name, "and `charset` both choose the characters", "Leave out one of them.");
            }
        }
    } else if classes(found.fields).is_empty() {
        found.object("lower", "and all others are false: no characters are left", "Leave one of them true.");
    }
}

pub fn prepare_id(found: &mut Found<'_>) {
    found.number("length", 1, 1024);
}

fn distinct(text: &str) -> Vec<char> {
    let mut all: Vec<char> = text.chars().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The character classes that are wanted.
fn classes(fields: &Map) -> Vec<Vec<char>> {
    let wanted = CLASSES.into_iter().filter(|(name, _)| flag(fields, name).unwrap_or(true));
    wanted.map(|(_, characters)| characters.chars().collect()).collect()
}

fn length(fields: &Map, default: i64) -> usize {
    let given = fields.get("length").and_then(Json::as_i64).unwrap_or(default);
    usize::try_from(given.clamp(1, 4096)).unwrap_or(1)
}

/// The attributes of a new secret.
pub fn make(fields: &Map) -> Result<Map, CallError> {
    let kind = text(fields, "kind").unwrap_or_else(|| "password".to_owned());
    let value = match kind.as_str() {
        "hex" => HEXLOWER.encode(&bytes(length(fields, BYTES))?),
        "base64" => base64::engine::general_purpose::STANDARD.encode(bytes(length(fields, BYTES))?),
        "uuid" => uuid(bytes(16)?),
        "password" => {
            let classes = match text(fields, "charset") {
                Some(charset) => vec![distinct(&charset)],
                None => classes(fields),
            };
            password(length(fields, PASSWORD), &classes)?
        }
        _ => return Err(failed(Class::Rejected, "there is no such `kind`")),
    };
    Ok(Map::from_iter([("value".to_owned(), Json::from(value))]))
}

/// The attributes of a new id, which is no secret.
pub fn make_id(fields: &Map) -> Result<Map, CallError> {
    let bytes = bytes(length(fields, ID_BYTES))?;
    let prefix = text(fields, "prefix").unwrap_or_default();
    let shown = |text: String| Json::from(format!("{prefix}{text}"));
    Ok(Map::from_iter([
        ("hex".to_owned(), shown(HEXLOWER.encode(&bytes))),
        ("base64url".to_owned(), shown(URL_SAFE_NO_PAD.encode(&bytes))),
    ]))
}

/// As many bytes of the system's source.
pub fn bytes(count: usize) -> Result<Vec<u8>, CallError> {
    let mut bytes = vec![0; count];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| failed(Class::NotSent, format!("the system gives no random bytes: {error}")))?;
    Ok(bytes)
}

/// A version 4 UUID (RFC 9562) of sixteen random bytes.
fn uuid(mut bytes: Vec<u8>) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = HEXLOWER.encode(&bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Characters each of which is as likely as every other, with one of each class at least. Drawn whole until that is so, which
/// leaves every password of the kind as likely as every other.
fn password(length: usize, classes: &[Vec<char>]) -> Result<String, CallError> {
    let all: Vec<char> = classes.concat();
    loop {
        let drawn = draw(length, &all)?;
        let holds = |class: &Vec<char>| drawn.iter().any(|character| class.contains(character));
        if classes.iter().all(holds) {
            return Ok(drawn.into_iter().collect());
        }
    }
}

fn draw(length: usize, from: &[char]) -> Result<Vec<char>, CallError> {
    // Bytes past the last whole multiple would make the first characters likelier.
    let fair = 256 - 256 % from.len();
    let mut drawn = Vec::with_capacity(length);
    while drawn.len() < length {
        let fit = bytes(length)?.into_iter().map(usize::from).filter(|byte| *byte < fair);
        drawn.extend(fit.map(|byte| from[byte % from.len()]));
    }
    drawn.truncate(length);
    Ok(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::HashSet;

    fn value(fields: Json) -> String {
        make(fields.as_object().unwrap()).unwrap()["value"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_password_has_its_length_and_one_of_each_class() {
        for _ in 0..200 {
            let found = value(json!({"length": 8}));
            assert_eq!(found.len(), 8, "{found}");
            for (name, class) in CLASSES {
                assert!(found.chars().any(|it| class.contains(it)), "no {name} in {found}");
            }
        }
        let digits = value(json!({"length": 4096, "lower": false, "upper": false, "symbols": false}));
        // Each of the ten is there with all but certainty.
        assert_eq!(distinct(&digits).len(), 10);
        assert_eq!(distinct(&value(json!({"charset": "xäy", "length": 400}))), ['x', 'y', 'ä']);
    }

    #[test]
    fn no_two_are_the_same_and_each_kind_has_its_form() {
        let all: HashSet<String> = (0..100).map(|_| value(json!({}))).collect();
        assert_eq!(all.len(), 100);
        assert_eq!(value(json!({"kind": "hex", "length": 20})).len(), 40);
        assert_eq!(value(json!({"kind": "base64"})).len(), 44);
        let uuid = value(json!({"kind": "uuid"}));
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "4"), "{uuid}");
        assert!(["8", "9", "a", "b"].contains(&&uuid[19..20]), "{uuid}");
        let id = make_id(json!({"prefix": "web-", "length": 4}).as_object().unwrap()).unwrap();
        assert_eq!(id["hex"].as_str().unwrap().len(), 12);
    }
}
