//! Owns the shape of a provider manifest as the runtime reads it; `docs/manifest.md` explains it to people.

use crate::Module;
use crate::step::{Call, Foreign, StepSpec, Takes};
use indexmap::IndexMap;
use provision_model::{Disruption, FieldSpec, IdentityClass, Json, Map, Remote};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A provider: how to reach it, how it errs, and its resource types.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub name: String,
    /// The extension's own version.
    pub version: String,
    /// The engine API it needs, as a range of major versions: `"1"`.
    pub api: String,
    #[serde(default)]
    pub doc: String,
    pub protocol: Protocol,
    #[serde(default)]
    pub endpoint: Endpoint,
    /// Ways to authenticate, the first whose credentials are all present is used.
    #[serde(default)]
    pub auth: Vec<Auth>,
    #[serde(default)]
    pub region: Option<Region>,
    #[serde(default)]
    pub errors: ErrorRules,
    #[serde(default)]
    pub rate_limit: RateLimit,
    #[serde(default)]
    pub pagination: Option<Pagination>,
    /// Query of a list call that finds a label: `{key}` and `{value}` are replaced.
    #[serde(default)]
    pub label_filter: IndexMap<String, String>,
    /// Beginnings of labels that are the vendor's own.
    #[serde(default)]
    pub reserved_labels: Vec<String>,
    /// How long-running actions are polled.
    #[serde(default)]
    pub actions: Option<ActionPolling>,
    /// Valid values by catalogue name.
    #[serde(default)]
    pub catalog: IndexMap<String, Vec<String>>,
    /// What the account offers, by catalogue name.
    #[serde(default)]
    pub listings: IndexMap<String, Listing>,
    /// What an account of a Nushell module is told, by name; anything where there is none.
    #[serde(default)]
    pub settings: IndexMap<String, Setting>,
    /// How long a command of a Nushell module may take, for example `"90s"`; one minute by default.
    #[serde(default)]
    pub timeout: Option<String>,
    /// What a configuration can look up, by the name of one.
    #[serde(default)]
    pub lookups: IndexMap<String, LookupSpec>,
    pub types: IndexMap<String, TypeSpec>,
    /// Who has the commands of a Nushell module.
    #[serde(skip)]
    pub module: Option<Module>,
}

/// A setting of an account, `providers.NAME.SETTING` in Nickel.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Setting {
    pub doc: String,
    pub required: bool,
    pub default: Option<Json>,
    /// Variables that hold it where it is not given, the first one set wins.
    pub env: Vec<String>,
    /// Its value is never shown.
    pub sensitive: bool,
    /// A value to test with.
    pub example: Option<Json>,
}

/// How requests are written and answers read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    RestJson,
    Ec2Query,
    /// Implemented by the Rust type of the same name.
    Rust,
    /// Implemented by the commands of a Nushell module.
    Nushell,
}

/// Where the API is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// `{region}` is replaced.
    #[serde(default)]
    pub default: String,
    /// The vendor's own variables, first one set wins.
    #[serde(default)]
    pub env: Vec<EndpointVariable>,
}

/// An environment variable that points somewhere else.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointVariable {
    pub name: String,
    /// Added to the variable's value.
    #[serde(default)]
    pub suffix: String,
}

/// A credential: a setting of the account, or environment variables.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    pub setting: String,
    #[serde(default)]
    pub env: Vec<String>,
}

/// A way to authenticate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Auth {
    Bearer {
        token: Credential,
    },
    Basic {
        username: Credential,
        password: Credential,
    },
    Header {
        name: String,
        value: Credential,
    },
    Sigv4 {
        service: String,
        access_key: Credential,
        secret_key: Credential,
        #[serde(default)]
        session_token: Option<Credential>,
    },
}

impl Auth {
    /// The credentials that it takes.
    pub fn credentials(&self) -> Vec<&Credential> {
        match self {
            Auth::Bearer { token } => vec![token],
            Auth::Header { value, .. } => vec![value],
            Auth::Basic { username, password } => vec![username, password],
            Auth::Sigv4 { access_key, secret_key, .. } => vec![access_key, secret_key],
        }
    }
}

/// A provider whose calls go to one region each.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// The field of every type that names it.
    pub field: String,
    #[serde(default)]
    pub env: Vec<String>,
}

/// Where an error's code and text stand, and what the codes mean.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ErrorRules {
    pub code: Vec<String>,
    pub message: Vec<String>,
    /// Paths of the id of the request, where it stands in the answer.
    pub request_id: Vec<String>,
    /// Try the same again soon; nothing was done.
    pub busy: Vec<String>,
    /// Too many requests; nothing was done.
    pub throttle: Vec<String>,
    /// Something with this name or key exists.
    pub conflict: Vec<String>,
    pub gone: Vec<String>,
    pub credentials: Vec<String>,
    pub quota: Vec<String>,
    pub protected: Vec<String>,
}

/// What the vendor says about how often it may be asked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimit {
    /// Answer header with the requests left.
    pub remaining_header: Option<String>,
    /// Requests that come back per second once the budget is used up.
    pub refill_per_second: Option<f64>,
}

/// How lists are paged.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Pagination {
    /// Numbered pages; `next` is the path of the next page's number.
    Page {
        page: String,
        size: String,
        max: u32,
        next: String,
    },
    Offset {
        offset: String,
        limit: String,
        max: u32,
    },
    /// The answer has the address of the next page; its query is what counts, the host stays the account's.
    Link {
        size: String,
        max: u32,
        next: String,
    },
    Token {
        request: String,
        response: String,
        size: String,
        max: u32,
    },
    /// The address of the next page is in the answer's `Link` header (RFC 8288); its query is what counts.
    LinkHeader {
        size: String,
        max: u32,
    },
}

impl Pagination {
    /// The most items of a page.
    pub fn max(&self) -> u32 {
        match self {
            Self::Page { max, .. }
            | Self::Offset { max, .. }
            | Self::Token { max, .. }
            | Self::Link { max, .. }
            | Self::LinkHeader { max, .. } => *max,
        }
    }
}

/// Actions that can be asked about many at a time.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionPolling {
    pub path: String,
    /// Query parameter, repeated once per id.
    pub query: String,
    pub batch: usize,
    pub items: String,
    pub id: String,
    pub status: String,
    pub running: Vec<String>,
    pub failed: Vec<String>,
    pub error: String,
}

/// A resource type.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TypeSpec {
    pub doc: String,
    pub identity: IdentityClass,
    /// How long the cloud may not show what it has made, for example `"0s"`.
    #[serde(default = "no_time")]
    pub window: String,
    /// Request parameter that makes a create idempotent.
    #[serde(default)]
    pub token: Option<String>,
    /// The field whose map carries our labels.
    #[serde(default)]
    pub labels: Option<String>,
    /// A label that gets the cloud name when the user gives none.
    #[serde(default)]
    pub name_label: Option<String>,
    /// The most labels that the cloud lets a resource have, ours among them.
    #[serde(default)]
    pub labels_max: Option<usize>,
    /// What it is a part of, where the whole also has a field that lists such parts.
    #[serde(default)]
    pub part_of: Option<PartOf>,
    /// Fields whose value the cloud requires to be unique in the account; several with commas between are so together.
    #[serde(default)]
    pub unique: Vec<String>,
    /// Path of the id in an item; of its parts, separated by commas, where it has several.
    #[serde(default = "id")]
    pub id: String,
    pub fields: IndexMap<String, FieldSpec>,
    /// What only the cloud knows, by dotted name.
    #[serde(default)]
    pub attributes: IndexMap<String, FieldSpec>,
    #[serde(default)]
    pub status: Option<StatusSpec>,
    /// Items of a field that others put there, by field.
    #[serde(default)]
    pub foreign: IndexMap<String, Foreign>,
    /// What it may be attached to, by whose status its steps go.
    #[serde(default)]
    pub host: Option<HostSpec>,
    /// When an item that is there counts as not there.
    #[serde(default)]
    pub gone_when: Option<GoneWhen>,
    #[serde(default)]
    pub create: Option<Call>,
    #[serde(default)]
    pub read: Option<Call>,
    #[serde(default)]
    pub list: Option<Call>,
    /// The call that lists those of what it is part of, for a type that has no list of all: looked in after a lost answer.
    #[serde(default)]
    pub among: Option<Call>,
    #[serde(default)]
    pub update: Vec<StepSpec>,
    #[serde(default)]
    pub delete: Vec<StepSpec>,
    /// What its deletion takes along, by name: `None` where the manifest does not say.
    #[serde(default)]
    pub takes: Option<IndexMap<String, Takes>>,
    /// Resources that the examples of its fields refer to, by address.
    #[serde(default)]
    pub needs: IndexMap<String, Json>,
    /// Fields that had another name in an earlier version: old name to new.
    #[serde(default)]
    pub renamed: IndexMap<String, String>,
    /// The Nushell module of the folder that has the commands of this type, where calls cannot say it: `mod.nu`.
    #[serde(default)]
    pub implemented_by: Option<String>,
}

impl TypeSpec {
    /// A value of a field in its one form.
    pub fn normalised(&self, field: &str, value: Json) -> Json {
        match self.fields.get(field) {
            Some(rule) => provision_model::normalised(rule, value),
            None => value,
        }
    }

    /// What the cloud sets when it creates one, in its one form.
    pub fn initial(&self) -> Map {
        let set = |(name, field): (&String, &FieldSpec)| {
            Some((name.clone(), provision_model::normalised(field, field.initial.clone()?)))
        };
        self.fields.iter().filter_map(set).collect()
    }

    /// Takes out fields that do not go with the others.
    pub fn leave_out_barred(&self, values: &mut Map) {
        for (name, field) in self.fields.iter().filter(|(_, field)| !field.only_with.is_empty()) {
            if field.barred_by(values).is_some() {
                values.shift_remove(name);
            }
        }
    }

    /// The vendor's word that steps go by: that of what it is attached to, where the type says so.
    pub fn word<'a>(&self, remote: &'a Remote) -> Option<&'a String> {
        match &self.host {
            Some(_) => remote.host.as_ref()?.status.as_ref(),
            None => remote.status.as_ref(),
        }
    }

    /// Whether what others put into a field is left alone: it holds labels and none are declared.
    pub fn leaves_others(&self, field: &str, wanted: Option<&Json>) -> bool {
        let is_name = |key: &String| self.name_label.as_ref() == Some(key);
        let declares_none = || match wanted {
            None | Some(Json::Null) => true,
            Some(Json::Object(map)) => !map.is_empty() && map.keys().all(is_name),
            _ => false,
        };
        self.labels.as_deref() == Some(field) && declares_none()
    }

    /// The keys of which the account has one each: the fields that make up a key.
    pub fn keys(&self) -> impl Iterator<Item = Vec<&str>> {
        self.unique.iter().map(|key| key.split(',').map(str::trim).collect())
    }
}

/// The steps of a path into an answer; a dot between brackets belongs to the value looked for.
pub fn path_steps(path: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    path.split(move |c: char| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        c == '.' && depth == 0
    })
}

fn id() -> String {
    "id".into()
}

fn no_time() -> String {
    "0s".into()
}

/// How a resource stands in the lists of another, so that each part has one owner: itself, or the whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartOf {
    /// The type of the whole, of the same provider.
    #[serde(rename = "type")]
    pub whole: String,
    /// The field with the id of the whole.
    pub by: String,
    /// The field whose value names the list of the whole that it stands in.
    pub list: String,
    /// The item of that list, `{field}` replaced; what comes to nothing is left out.
    pub item: Map,
}

/// The vendor's state machine as far as waiting needs it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusSpec {
    pub path: String,
    pub ready: Vec<String>,
    #[serde(default)]
    pub failed: Vec<String>,
    /// As good as deleted.
    #[serde(default)]
    pub gone: Vec<String>,
}

/// What a resource may be attached to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostSpec {
    /// Its type, without the provider.
    #[serde(rename = "type")]
    pub kind: String,
    /// Path of its id in an item of `read`.
    pub at: String,
}

/// What makes an item as good as not there: nothing at a path, or a text that the cloud puts there by itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoneWhen {
    pub path: String,
    /// `*` stands for anything.
    #[serde(default)]
    pub like: Vec<String>,
}

/// A list of what the account offers: sizes, regions, prices.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    #[serde(default)]
    pub doc: String,
    pub call: Call,
    /// The columns of a row, read as fields are.
    pub columns: IndexMap<String, FieldSpec>,
}

/// Something that is found by what is known of it, where the cloud knows more.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupSpec {
    #[serde(default)]
    pub doc: String,
    pub call: Call,
    /// What it may be known by.
    #[serde(default)]
    pub filters: IndexMap<String, FilterSpec>,
    /// What the cloud knows of it, read as fields are.
    pub columns: IndexMap<String, FieldSpec>,
    /// A filter that finds one.
    #[serde(default)]
    pub example: Map,
}

/// Something that a look-up may be known by.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterSpec {
    #[serde(default)]
    pub doc: String,
    /// Query that asks the cloud for it, `{value}` and `{n}`, the number of the filter, replaced. Without one the column of
    /// the same name must be equal.
    #[serde(default)]
    pub query: IndexMap<String, String>,
    #[serde(default)]
    pub required: bool,
    /// Its value when none is given.
    #[serde(default)]
    pub default: Option<Json>,
}

impl Manifest {
    /// A manifest as it is written, with what its steps say about its fields.
    pub(crate) fn read(value: &Json) -> Result<Manifest, serde_json::Error> {
        let mut manifest = Manifest::deserialize(value)?;
        for spec in manifest.types.values_mut() {
            let TypeSpec { fields, update, create, .. } = spec;
            for (name, field) in fields.iter_mut() {
                let sent = match create.as_ref().and_then(|call| call.fields.as_ref()) {
                    Some(sent) => sent.contains(name),
                    None => field.wire.as_deref() != Some(""),
                };
                let set_later = update.iter().any(|step| step.on_create && step.fields.contains(name));
                field.late = set_later && !sent && !field.required && field.on_change == Disruption::Update;
            }
            for collection in update.iter().filter_map(|step| step.collection.as_ref()) {
                if let Some(field) = fields.get_mut(&collection.field) {
                    field.detaches = !field.required && !field.kind.is_many();
                    field.movable.clone_from(&collection.only);
                }
            }
        }
        Ok(manifest)
    }

    /// Whether the commands of a Nushell module are behind a type.
    pub fn has_commands(&self, spec: &TypeSpec) -> bool {
        self.protocol == Protocol::Nushell || spec.implemented_by.is_some()
    }

    /// `Hetzner` of `hetzner`: the Cedar namespace.
    pub fn cedar_namespace(&self) -> String {
        pascal(&self.name)
    }
}

/// The longest time that a manifest can say.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A length of time as a manifest says it: `90s`, `500ms`, `1.5s`, `5m` or `5min`, a day at most; `None` for anything else.
pub fn time_of(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" | "min" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok().filter(|time| *time <= LONGEST)
}

/// `SshKey` of `ssh_key`: the Cedar entity name.
pub fn pascal(name: &str) -> String {
    name.split(['_', '-'])
        .map(|part| {
            let mut chars = part.chars();
            chars.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_says_lengths_of_time_in_one_way() {
        for (text, milliseconds) in [("0s", 0), ("250ms", 250), ("1.5s", 1500), ("5m", 300_000), ("2min", 120_000)] {
            assert_eq!(time_of(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1 s", "1h", "infs", "25000m", "99999999999999999999m"] {
            assert_eq!(time_of(text), None, "{text}");
        }
    }
}
