//! Owns what goes wrong on the way to a cloud when a check asks for it, in the shape of any vendor: what it says follows
//! from the manifest.

use provision_model::{Json, Map};
use provision_providers::{Wire, WireAnswer, WireError, WireRequest};
use provision_registry::{Manifest, Protocol};
use provision_worker::{Asked, Commands, Fault, Raised};
use std::sync::{Arc, Mutex, PoisonError};

/// What happens to answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    /// The next change is refused with too many requests.
    Throttle,
    /// The next change is refused for the quota, with this code.
    Quota(String),
    /// The next change takes effect, and nobody hears the answer.
    LostAnswer,
    /// Every answer says more than was known.
    UnknownFields(String),
    /// Every answer to a reading call has this body.
    Body(&'static str, Vec<u8>),
    /// Every answer to a reading call is cut off in the middle.
    CutOff,
}

/// A wire on which what is asked for goes wrong.
pub struct Tampered {
    inner: Arc<dyn Wire>,
    protocol: Protocol,
    errors: (String, String),
    trouble: Mutex<Option<Trouble>>,
}

/// Whether a request asks for a change.
pub fn mutates(request: &WireRequest, protocol: Protocol) -> bool {
    match protocol {
        Protocol::Ec2Query => !action(request).is_some_and(|action| action.starts_with("Describe")),
        _ => request.method != "GET",
    }
}

/// The `Action` of the query protocol.
pub fn action(request: &WireRequest) -> Option<String> {
    let body = String::from_utf8_lossy(request.body.as_deref()?).into_owned();
    body.split('&').find_map(|pair| pair.strip_prefix("Action=").map(str::to_owned))
}

impl Tampered {
    pub fn new(inner: Arc<dyn Wire>, manifest: &Manifest) -> Self {
        let first = |paths: &[String]| paths.first().cloned().unwrap_or_else(|| "error".into());
        Self {
            inner,
            protocol: manifest.protocol,
            errors: (first(&manifest.errors.code), first(&manifest.errors.message)),
            trouble: Mutex::new(None),
        }
    }

    /// Orders trouble, or ends it.
    pub fn order(&self, trouble: Option<Trouble>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// What is left of what was ordered; `None` when it has happened.
    pub fn left(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A refusal in the vendor's shape.
    fn refusal(&self, status: u16, code: &str) -> WireAnswer {
        let mut body = Json::Object(Map::new());
        put(&mut body, &self.errors.0, Json::from(code));
        put(&mut body, &self.errors.1, Json::from("refused for a test"));
        let text = match self.protocol {
            Protocol::Ec2Query => format!("<Response>{}<RequestID>contract</RequestID></Response>", xml(&body)),
            _ => body.to_string(),
        };
        WireAnswer { status, headers: vec![("retry-after".into(), "0".into())], body: text.into_bytes() }
    }
}

fn put(target: &mut Json, path: &str, value: Json) {
    let mut at = target;
    for part in path.split('|').next().unwrap_or_default().split('.') {
        if !at.is_object() {
            *at = Json::Object(Map::new());
        }
        at = &mut at[part];
    }
    *at = value;
}

fn xml(value: &Json) -> String {
    match value {
        Json::Object(map) => map.iter().map(|(name, item)| format!("<{name}>{}</{name}>", xml(item))).collect(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Tampered {
    /// What is to happen to a call.
    fn next(&self, changes: bool) -> Option<Trouble> {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match &*trouble {
            Some(Trouble::Throttle | Trouble::Quota(_) | Trouble::LostAnswer) if changes => trouble.take(),
            Some(Trouble::Throttle | Trouble::Quota(_) | Trouble::LostAnswer) => None,
            other => other.clone(),
        }
    }
}

/// The commands of a module, on which the same goes wrong.
pub struct TamperedCommands {
    pub inner: Arc<dyn Commands>,
    pub tampered: Arc<Tampered>,
}

impl Commands for TamperedCommands {
    fn call(&self, command: &str, request: &Json, asked: &Asked<'_>) -> Result<Json, Fault> {
        let changes = !["read", "list"].contains(&command);
        let refused = |code: &str| {
            let (message, code) = ("refused for a test".to_owned(), Some(code.to_owned()));
            Err(Fault::Raised(Box::new(Raised { message, code, ..Raised::default() })))
        };
        let once = self.tampered.next(changes);
        match &once {
            Some(Trouble::Throttle) => return refused("throttle"),
            Some(Trouble::Quota(_)) => return refused("quota"),
            _ => {}
        }
        let mut answer = self.inner.call(command, request, asked)?;
        match once {
            Some(Trouble::LostAnswer) => Err(Fault::Ended("the answer was lost for a test".to_owned())),
            Some(Trouble::UnknownFields(id)) => {
                widen(&mut answer, &id, false);
                Ok(answer)
            }
            Some(Trouble::CutOff) if !changes => Err(Fault::Unreadable("it is cut off".to_owned())),
            Some(Trouble::Body(_, body)) if !changes => match std::str::from_utf8(&body) {
                Err(error) => Err(Fault::Unreadable(error.to_string())),
                Ok("") => Ok(Json::Null),
                Ok(text) => Ok(serde_json::from_str(text).unwrap_or_else(|_| Json::from(text))),
            },
            _ => Ok(answer),
        }
    }
}

impl Wire for Tampered {
    fn exchange(&self, request: WireRequest) -> Result<WireAnswer, WireError> {
        let changes = mutates(&request, self.protocol);
        let once = self.next(changes);
        match once {
            Some(Trouble::Throttle) => return Ok(self.refusal(429, "")),
            Some(Trouble::Quota(code)) => return Ok(self.refusal(403, &code)),
            Some(Trouble::LostAnswer) => {
                return match self.inner.exchange(request) {
                    Ok(_) => Err(WireError::Lost("the answer was lost for a test".into())),
                    Err(error) => Err(error),
                };
            }
            _ => {}
        }
        let mut answer = self.inner.exchange(request)?;
        if !(200..300).contains(&answer.status) {
            return Ok(answer);
        }
        match once {
            Some(Trouble::UnknownFields(id)) => {
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                answer.body = more(&text, &id, self.protocol).into_bytes();
            }
            Some(Trouble::Body(_, body)) if !changes => answer.body = body,
            Some(Trouble::CutOff) if !changes => answer.body.truncate(answer.body.len() / 2),
            _ => {}
        }
        Ok(answer)
    }
}

/// An answer that says more than was known: at its top, and in everything that has an id.
fn more(text: &str, id: &str, protocol: Protocol) -> String {
    if protocol == Protocol::Ec2Query {
        let extra = "<futureField><deep>1</deep></futureField>";
        return text.replace("<item>", &format!("<item>{extra}"));
    }
    let Ok(mut value) = serde_json::from_str::<Json>(text) else { return text.to_owned() };
    widen(&mut value, id, true);
    value.to_string()
}

fn widen(value: &mut Json, id: &str, top: bool) {
    match value {
        Json::Object(map) => {
            map.values_mut().for_each(|item| widen(item, id, false));
            if top || map.contains_key(id) {
                map.insert("x_future_field".into(), serde_json::json!({"deep": [1, null, {"a": "b"}]}));
            }
        }
        Json::Array(items) => items.iter_mut().for_each(|item| widen(item, id, false)),
        _ => {}
    }
}
