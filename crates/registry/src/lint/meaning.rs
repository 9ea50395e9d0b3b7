//! Owns what a manifest means, as far as it can be told without a cloud: whether its types can be made, seen, changed
//! and deleted, whether its lists end, whether its errors are understood.

use super::calls::{self, Place};
use super::{Findings, at, fits, lookups, takes, values};
use crate::{Auth, Endpoint, Manifest, Pagination, Protocol, TypeSpec};
use indexmap::IndexMap;
use provision_diagnostic::{Code, did_you_mean};
use provision_model::{Disruption, FieldSpec, FieldType, IdentityClass, Json, Step};

const UNKNOWN_FIELD: Code = Code::ProviderUnknownField;
const NEVER: Code = Code::ProviderNeverCreated;
const LINT: Code = Code::ProviderLint;

/// Everything wrong with what a manifest means.
pub fn check(manifest: &Manifest, raw: &Json, findings: &mut Findings) {
    names(manifest, findings);
    values::check(manifest, findings);
    match crate::api::accepts(&manifest.api) {
        Err(wrong) => findings.error(Code::ProviderApi, wrong, &path(&["api"]), "Write for example `api = \"1\"`."),
        Ok(false) => findings.error(
            Code::ProviderApi,
            format!("the manifest needs engine API {}, this engine has {}", manifest.api, crate::ENGINE_API),
            &path(&["api"]),
            crate::api::advice(&manifest.api),
        ),
        Ok(true) => {}
    }
    if manifest.types.is_empty() {
        findings.error(LINT, "the manifest has no types", &path(&["types"]), "Add one under `types`.");
    }
    let remote = !matches!(manifest.protocol, Protocol::Rust | Protocol::Nushell);
    if remote {
        endpoint(manifest, &manifest.endpoint, raw, findings);
        errors(manifest, raw, findings);
        pagination(manifest, findings);
        rest(manifest, findings);
    }
    account(manifest, findings);
    for (name, spec) in &manifest.types {
        let here = path(&["types", name]);
        fields(manifest, &spec.fields, &at(&here, "fields"), findings);
        own(manifest, spec, name, &here, findings);
        values::check_type(manifest, spec, name, &here, findings);
        if manifest.has_commands(spec) {
            commands(manifest, spec, raw, name, &here, findings);
        } else if remote {
            life(manifest, spec, name, &here, findings);
            changes(manifest, spec, &here, findings);
            calls::check(manifest, spec, &here, findings);
            takes::check(manifest, spec, name, &here, findings);
        }
    }
    for (name, listing) in &manifest.listings {
        let here = at(&path(&["listings", name]), "call");
        calls::one(manifest, None, &listing.call, Place::List, &here, findings);
    }
    lookups::check(manifest, findings);
}

/// What only the commands of a module are told.
fn account(manifest: &Manifest, findings: &mut Findings) {
    if manifest.protocol != Protocol::Nushell {
        for (name, there) in [("settings", !manifest.settings.is_empty()), ("timeout", manifest.timeout.is_some())] {
            if there {
                let here = path(&[name]);
                findings.error(LINT, format!("only a Nushell module has `{name}`"), &here, "Remove it.");
            }
        }
    }
    if let Some(timeout) =
        manifest.timeout.as_ref().filter(|text| crate::time_of(text).is_none_or(|time| time.is_zero()))
    {
        let message = format!("the time `{timeout}` is not valid");
        findings.error(LINT, message, &path(&["timeout"]), "Write for example `90s`, `500ms` or `5m`.");
    }
    for (name, setting) in &manifest.settings {
        if setting.required && setting.default.is_some() {
            let message = format!("the setting `{name}` is required, and has a default");
            findings.error(LINT, message, &path(&["settings", name]), "Remove one of the two.");
        }
    }
}

/// A module has commands where a manifest has calls.
fn commands(manifest: &Manifest, spec: &TypeSpec, raw: &Json, name: &str, here: &[Step], findings: &mut Findings) {
    if manifest.protocol == Protocol::Nushell && spec.implemented_by.is_some() {
        let help = "Remove it: the module has the commands of all types.";
        findings.error(LINT, "`implemented_by` is for a type of a manifest", &at(here, "implemented_by"), help);
    }
    if manifest.protocol == Protocol::Rust {
        let help = "Give the provider another protocol.";
        findings.error(LINT, "a type of a Rust provider is implemented in Rust", &at(here, "implemented_by"), help);
    }
    for key in ["create", "read", "list", "update", "delete", "status", "token", "labels", "name_label"] {
        let said = &raw["types"][name][key];
        if !said.is_null() && !said.as_array().is_some_and(Vec::is_empty) {
            findings.error(
                LINT,
                format!("`{key}` says how a cloud is called, and the type `{name}` is one of a Nushell module"),
                &at(here, key),
                "Remove it; the commands of the module do what it would say.",
            );
        }
    }
    if spec.id != "id" {
        findings.error(LINT, "the commands of a module give the id as `id`", &at(here, "id"), "Remove it.");
    }
}

fn path(steps: &[&str]) -> Vec<Step> {
    steps.iter().map(|step| Step::from(*step)).collect()
}

fn names(manifest: &Manifest, findings: &mut Findings) {
    let good = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let mut all = vec![(manifest.name.as_str(), path(&["name"]))];
    for (name, spec) in &manifest.types {
        all.push((name, path(&["types", name])));
        all.extend(spec.fields.keys().map(|field| (field.as_str(), path(&["types", name, "fields", field]))));
    }
    for (name, place) in all {
        if !good(name) && !name.is_empty() {
            findings.error(
                Code::ProviderManifest,
                format!("the name `{name}` is not valid"),
                &place,
                "Names are lower-case letters, digits and `_`, starting with a letter.",
            );
        }
        if place.len() == 4 && ["lifecycle", "depends_on"].contains(&name) {
            findings.error(
                Code::ProviderManifest,
                format!("the field name `{name}` is reserved"),
                &place,
                "Give the field another name and say its own in `wire`.",
            );
        }
    }
}

fn endpoint(manifest: &Manifest, endpoint: &Endpoint, raw: &Json, findings: &mut Findings) {
    let here = path(&["endpoint", "default"]);
    let url = &endpoint.default;
    let loopback = ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|start| url.starts_with(start));
    if url.is_empty() && endpoint.env.is_empty() {
        findings.error(
            LINT,
            "the manifest does not say where the API is",
            &path(&["endpoint"]),
            "Give `endpoint.default`.",
        );
    } else if !url.is_empty() && !url.starts_with("https://") && !loopback {
        findings.error(
            LINT,
            format!("the endpoint `{url}` is not HTTPS"),
            &here,
            "Credentials go over it: write `https://…`.",
        );
    }
    if url.contains("{region}") && manifest.region.is_none() {
        findings.error(
            LINT,
            "the endpoint has `{region}`, but the manifest has no `region`",
            &here,
            "Add `region = { field = \"region\" }`.",
        );
    }
    if raw["auth"].as_array().is_none_or(Vec::is_empty) {
        findings.warning(
            LINT,
            "the manifest has no way to authenticate",
            &[],
            "Add `auth`, or ignore this for an open API.",
        );
    }
    for (index, auth) in manifest.auth.iter().enumerate() {
        let credentials = match auth {
            Auth::Bearer { token } => vec![token],
            Auth::Header { value, .. } => vec![value],
            Auth::Basic { username, password } => vec![username, password],
            Auth::Sigv4 { access_key, secret_key, .. } => vec![access_key, secret_key],
        };
        if credentials.iter().any(|credential| credential.env.is_empty()) {
            let here = at(&path(&["auth"]), index);
            findings.warning(
                LINT,
                "a credential has no environment variable",
                &here,
                "Name the vendor's own in `env`.",
            );
        }
    }
    if let Some(region) = &manifest.region {
        for (name, spec) in &manifest.types {
            if !spec.fields.contains_key(&region.field) {
                findings.error(
                    UNKNOWN_FIELD,
                    format!("`region.field` names `{}`, which the type `{name}` does not have", region.field),
                    &path(&["types", name, "fields"]),
                    format!("Add the field `{}`.", region.field),
                );
            }
        }
    }
}

fn errors(manifest: &Manifest, raw: &Json, findings: &mut Findings) {
    let rules = &manifest.errors;
    for (name, paths) in [("code", &rules.code), ("message", &rules.message)] {
        if paths.is_empty() {
            findings.error(
                Code::ProviderErrors,
                format!("`errors` does not say where an error's {name} stands"),
                &path(&["errors"]),
                format!("Add for example `errors.{name} = [\"error.{name}\"]`."),
            );
        }
    }
    // A written empty list says that the vendor has no such code.
    for name in ["conflict", "quota"] {
        if raw["errors"].get(name).is_none() {
            findings.warning(
                Code::ProviderErrors,
                format!("`errors` does not say which codes mean `{name}`"),
                &path(&["errors"]),
                format!("List them, or write `{name} = []` where the vendor has none."),
            );
        }
    }
    let classes = [
        ("busy", &rules.busy),
        ("throttle", &rules.throttle),
        ("conflict", &rules.conflict),
        ("gone", &rules.gone),
        ("credentials", &rules.credentials),
        ("quota", &rules.quota),
        ("protected", &rules.protected),
    ];
    let mut seen: IndexMap<&str, &str> = IndexMap::new();
    for (class, codes) in classes {
        for code in codes {
            if let Some(first) = seen.insert(code, class).filter(|first| *first != class) {
                findings.error(
                    Code::ProviderErrors,
                    format!("the error code `{code}` means both `{first}` and `{class}`"),
                    &path(&["errors", class]),
                    "Keep it in one of them.",
                );
            }
        }
    }
}

fn pagination(manifest: &Manifest, findings: &mut Findings) {
    let code = Code::ProviderEndless;
    let mut wrong = |message: &str, field: &str, help: &str| {
        findings.error(code, message, &path(&["pagination", field]), help);
    };
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    match &manifest.pagination {
        None => {}
        Some(Pagination::Page { page, size, max, next }) => {
            if page.is_empty() || page == size {
                wrong("the lists never end: no parameter asks for the next page", "page", "Name the page's parameter.");
            }
            if next.is_empty() {
                wrong("the answer does not say which page is next", "next", "Give the path of the next page's number.");
            } else if last(next) == *page {
                wrong(
                    "the lists never end: `next` is the number of the same page",
                    "next",
                    "Give the path of the next page's number, which the last page lacks.",
                );
            }
            if *max == 0 {
                wrong("the lists never end: a page holds nothing", "max", "Give the largest page the vendor allows.");
            }
        }
        Some(Pagination::Offset { offset, limit, max }) => {
            if *max == 0 {
                wrong("the lists never end: a page holds nothing", "max", "Give the largest page the vendor allows.");
            }
            if offset.is_empty() || offset == limit {
                wrong("the lists never end: no parameter moves on", "offset", "Name the offset's parameter.");
            }
        }
        Some(Pagination::Link { size: _, max, next }) => {
            if next.is_empty() {
                wrong("the answer does not say which page is next", "next", "Give the path of its address.");
            }
            if *max == 0 {
                wrong("the lists never end: a page holds nothing", "max", "Give the largest page the vendor allows.");
            }
        }
        Some(Pagination::LinkHeader { max: 0, .. }) => {
            wrong("the lists never end: a page holds nothing", "max", "Give the largest page the vendor allows.");
        }
        Some(Pagination::LinkHeader { .. }) => {}
        Some(Pagination::Token { request, response, size, max }) => {
            if request.is_empty() || request == size {
                wrong("the lists never end: no parameter carries the token", "request", "Name the token's parameter.");
            }
            if response.is_empty() {
                wrong("the answer does not say where the next token is", "response", "Give its path.");
            }
            if *max == 0 {
                wrong("the lists never end: a page holds nothing", "max", "Give the largest page the vendor allows.");
            }
        }
    }
}

fn rest(manifest: &Manifest, findings: &mut Findings) {
    for (key, template) in &manifest.label_filter {
        if !template.contains("{value}") {
            let here = path(&["label_filter", key]);
            if !manifest.label_filter.values().any(|template| template.contains("{value}")) {
                findings.error(
                    LINT,
                    "the label filter never says which value it looks for",
                    &here,
                    "Write `{key}={value}`.",
                );
            }
        }
    }
    if let Some(polling) = &manifest.actions {
        if polling.running.is_empty() {
            findings.error(
                LINT,
                "no word means that an action is still running",
                &path(&["actions", "running"]),
                "List them.",
            );
        }
        if polling.batch == 0 {
            findings.error(
                LINT,
                "actions are asked about none at a time",
                &path(&["actions", "batch"]),
                "Write 1 or more.",
            );
        }
    }
}

/// A reference to a field by name.
pub(super) fn field(spec: &TypeSpec, name: &str, what: &str, place: &[Step], findings: &mut Findings) {
    if spec.fields.contains_key(name) {
        return;
    }
    let help = did_you_mean(name, spec.fields.keys().map(String::as_str), || {
        format!("The fields are {}.", spec.fields.keys().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "))
    });
    findings.error(UNKNOWN_FIELD, format!("{what} names the unknown field `{name}`"), place, help);
}

fn own(manifest: &Manifest, spec: &TypeSpec, name: &str, here: &[Step], findings: &mut Findings) {
    if let Some(labels) = &spec.labels {
        field(spec, labels, "`labels`", &at(here, "labels"), findings);
        if spec.fields.get(labels).is_some_and(|field| !matches!(field.kind, FieldType::Map(_))) {
            findings.error(
                LINT,
                format!("`labels` names `{labels}`, which is no map"),
                &at(here, "labels"),
                "Give the field the type `{ map = \"string\" }`.",
            );
        }
    }
    for (part, fields) in [("fields", &spec.fields), ("attributes", &spec.attributes)] {
        for (name, rule) in fields {
            for (index, followed) in rule.follows.iter().enumerate() {
                let place = at(&at(&at(&at(here, part), name.as_str()), "follows"), index);
                field(spec, followed, "`follows`", &place, findings);
            }
        }
    }
    for (name, rule) in &spec.fields {
        let Some(also) = rule.also.as_ref().filter(|also| !spec.attributes.contains_key(*also)) else { continue };
        let help = did_you_mean(also, spec.attributes.keys().map(String::as_str), || "Add the attribute.".to_owned());
        let place = at(&at(&at(here, "fields"), name.as_str()), "also");
        findings.error(UNKNOWN_FIELD, format!("`also` names the unknown attribute `{also}`"), &place, help);
    }
    for (old, new) in &spec.renamed {
        let place = at(&at(here, "renamed"), old.as_str());
        field(spec, new, "`renamed`", &place, findings);
        if spec.fields.contains_key(old) {
            findings.error(
                LINT,
                format!("`{old}` is said to be renamed, and is still a field"),
                &place,
                "Remove one of the two.",
            );
        }
    }
    if spec.name_label.is_some() && spec.labels.is_none() {
        findings.error(
            LINT,
            "`name_label` without `labels`",
            &at(here, "name_label"),
            "Name the map of labels in `labels`.",
        );
    }
    if crate::time_of(&spec.window).is_none() {
        findings.error(
            LINT,
            format!("`{}` is no length of time", spec.window),
            &at(here, "window"),
            "Write for example `5s`.",
        );
    }
    // A module keeps the mark in a place of its own.
    let has_commands = manifest.has_commands(spec);
    if spec.identity == IdentityClass::Tagged && spec.labels.is_none() && !has_commands {
        findings.error(
            LINT,
            format!("the type `{name}` is recognised by labels, but has none"),
            &at(here, "identity"),
            "Name the map of labels in `labels`, or use `keyed` or `anonymous`.",
        );
    }
}

fn fields(manifest: &Manifest, specs: &IndexMap<String, FieldSpec>, here: &[Step], findings: &mut Findings) {
    for (name, spec) in specs {
        let here = at(here, name.as_str());
        if let Some(catalog) = &spec.catalog
            && !manifest.catalog.contains_key(catalog)
        {
            let help = did_you_mean(catalog, manifest.catalog.keys().map(String::as_str), || {
                "Add it under `catalog`.".to_owned()
            });
            findings.error(LINT, format!("there is no catalogue `{catalog}`"), &at(&here, "catalog"), help);
        }
        if spec.required && (spec.default.is_some() || spec.default_name) {
            findings.error(LINT, format!("`{name}` is required and has a default"), &here, "Keep one of the two.");
        }
        for (key, value) in [("default", &spec.default), ("example", &spec.example), ("other", &spec.other)] {
            let Some(value) = value else { continue };
            let place = at(&here, key);
            if let Some(problem) = fits(&spec.kind, value, &[Step::from(name.as_str())]).into_iter().next() {
                findings.error(
                    LINT,
                    format!("its `{key}` does not fit: {}", problem.message),
                    &place,
                    problem.help.unwrap_or_default(),
                );
            }
            if let (false, Some(text)) = (spec.one_of.is_empty(), value.as_str())
                && !spec.one_of.iter().any(|choice| choice == text)
            {
                findings.error(
                    LINT,
                    format!("its `{key}` is none of `one_of`"),
                    &place,
                    format!("Use one of {}.", spec.one_of.join(", ")),
                );
            }
        }
        if spec.example.is_some() && spec.example == spec.other {
            findings.warning(
                LINT,
                format!("`{name}` has the same `example` and `other`"),
                &at(&here, "other"),
                "A change needs another value.",
            );
        }
        let (mut kind, mut place) = (&spec.kind, at(&here, "type"));
        while let FieldType::List(inner) | FieldType::Map(inner) = kind {
            place = at(&place, if matches!(kind, FieldType::List(_)) { "list" } else { "map" });
            kind = inner;
        }
        if let FieldType::Record(inner) = kind {
            fields(manifest, inner, &at(&place, "record"), findings);
        }
    }
}

/// Whether one can be made, seen and deleted, and whether what is required is sent.
fn life(manifest: &Manifest, spec: &TypeSpec, name: &str, here: &[Step], findings: &mut Findings) {
    match &spec.create {
        None => findings.error(
            NEVER,
            format!("a `{name}` can never be created: it has no `create`"),
            here,
            "Add for example `create = { method = \"POST\", path = \"/things\", result = \"thing\" }`.",
        ),
        Some(call) => {
            if call.method.as_deref() == Some("GET") {
                findings.error(
                    NEVER,
                    format!("a `{name}` can never be created: `GET` makes nothing"),
                    &at(&at(here, "create"), "method"),
                    "Use `POST` or `PUT`.",
                );
            }
            let sent = calls::sent_on_create(spec, call);
            let region = manifest.region.as_ref().map(|region| region.field.as_str());
            for (field, it) in &spec.fields {
                if sent.contains(field) || region == Some(field) {
                    continue;
                }
                let place = at(&at(here, "fields"), field.as_str());
                let help = "Send it in `create`, or in a step with `on_create = true`.";
                if it.required {
                    findings.error(
                        NEVER,
                        format!("the required `{field}` of a `{name}` is never sent when it is created"),
                        &place,
                        help,
                    );
                } else {
                    findings.warning(
                        LINT,
                        format!("`{field}` of a `{name}` is not sent when it is created"),
                        &place,
                        help,
                    );
                }
            }
        }
    }
    if spec.read.is_none() && spec.list.is_none() {
        findings.error(
            LINT,
            format!("a `{name}` can never be seen: it has neither `read` nor `list`"),
            here,
            "Add one of them.",
        );
    }
    if spec.list.is_none() && spec.among.is_none() && spec.create.as_ref().is_some_and(|create| create.id.is_none()) {
        findings.error(
            LINT,
            format!("whether a `{name}` was made cannot be told once the answer is lost: it has no `list`"),
            here,
            "Add `list` or, for a part of something, `among`; or give `create` the `id` where the request says what it will be.",
        );
    }
    if spec.delete.is_empty() {
        findings.error(
            LINT,
            format!("a `{name}` can never be deleted: it has no `delete`"),
            here,
            "Add a step with a call.",
        );
    }
    if let Some(status) = &spec.status {
        let here = at(here, "status");
        if status.path.is_empty() || status.ready.is_empty() {
            findings.error(
                Code::ProviderUnknownStatus,
                format!("a `{name}` is never ready: `status` lacks its path or words"),
                &here,
                "Give `path` and `ready`.",
            );
        }
        for word in status.ready.iter().filter(|word| status.failed.contains(word) || status.gone.contains(word)) {
            findings.error(
                Code::ProviderUnknownStatus,
                format!("the status `{word}` is both ready and not"),
                &here,
                "Keep it in one list.",
            );
        }
    }
}

/// Whether each field that is said to be changed in place is changed by a step.
fn changes(manifest: &Manifest, spec: &TypeSpec, here: &[Step], findings: &mut Findings) {
    let region = manifest.region.as_ref().map(|region| region.field.as_str());
    for (name, field) in &spec.fields {
        let covered = spec.update.iter().any(|step| step.fields.contains(name));
        if field.on_change != Disruption::Replace && !covered && region != Some(name) {
            findings.error(
                Code::ProviderNeverChanged,
                format!("`{name}` is changed in place, but no step of `update` answers its change"),
                &at(&at(here, "fields"), name.as_str()),
                "Add a step with it in `fields`, or say `on_change = \"replace\"`.",
            );
        }
    }
}
