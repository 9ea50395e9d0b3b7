//! Owns making `schemas/provider_contract.ncl` of `schemas/provider.ncl`, which the check uses: one description, two uses.

use super::TEXT;
use crate::door::text;
use crate::lint::{Contract, SCALARS};
use crate::{BUILT_IN, built_in};
use indexmap::IndexMap;
use provision_model::{FieldSpec, FieldType, Json};
use provision_nickel::{Evaluator, Request, Source};
use std::fmt::Write;

type Fields = IndexMap<String, FieldSpec>;

const HEAD: &str = r#"# Generated from what `provision provider check` uses; do not edit.
#
#   let provider = import "provider.ncl" in
#   { name = "acme", … } | provider.Manifest
let OneOf = fun values =>
  std.contract.from_validator (fun value =>
    if std.array.elem value values then
      'Ok
    else
      'Error { message = "expected one of %{std.serialize 'Json values}" }
  )
in
let OfKind = fun kinds =>
  std.contract.custom (fun label value =>
    if std.is_record value && std.record.has_field "kind" value && std.record.has_field value.kind kinds then
      std.contract.check (std.record.get value.kind kinds) label value
    else
      'Error { message = "expected a `kind` of %{std.serialize 'Json (std.record.fields kinds)}" }
  )
in
let rec contracts = {
"#;

const TAIL: &str = r#"
  Type =
    std.contract.custom (fun label value =>
      let inside = if std.is_record value then std.record.fields value else [] in
      if std.is_string value then
        std.contract.check (OneOf SCALARS) label value
      else if inside == ["list"] || inside == ["map"] then
        std.contract.check { _ | contracts.Type } label value
      else if inside == ["record"] then
        std.contract.check { record | { _ | contracts.Field } } label value
      else
        'Error { message = "expected the name of a type, { list = … }, { map = … } or { record = { … } }" }
    ),
}
in
{ Manifest | doc "What a provider's manifest can say." = contracts.Manifest }
"#;

/// The text of the file.
fn generate(contract: &Contract) -> String {
    let mut out = String::from(HEAD);
    let shapes = [
        ("Manifest", &contract.manifest),
        ("Kind", &contract.kind),
        ("Field", &contract.field),
        ("Listing", &contract.listing),
        ("Lookup", &contract.lookup),
        ("Filter", &contract.filter),
        ("Setting", &contract.setting),
    ];
    for (name, fields) in shapes {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {name} = {},", record(name, fields, 4, false));
    }
    for (name, kinds) in [("Auth", &contract.auth), ("Pagination", &contract.pagination)] {
        let _ = writeln!(out, "  {name} = OfKind {{");
        for (kind, fields) in kinds {
            let _ = writeln!(out, "    {} = {},", text(kind), record(name, fields, 6, true));
        }
        out.push_str("  },\n");
    }
    let scalars: Vec<String> = SCALARS.iter().map(|name| text(name)).collect();
    out.push_str(&TAIL.replacen("SCALARS", &format!("[{}]", scalars.join(", ")), 1));
    out
}

/// What stands in the fields whose own description says only `any`.
fn inner(shape: &str, field: &str) -> Option<&'static str> {
    Some(match (shape, field) {
        ("Manifest", "auth") => "Array contracts.Auth",
        ("Manifest", "pagination") => "contracts.Pagination",
        ("Manifest", "listings") => "{ _ | contracts.Listing }",
        ("Manifest", "lookups") => "{ _ | contracts.Lookup }",
        ("Manifest", "settings") => "{ _ | contracts.Setting }",
        ("Manifest", "types") => "{ _ | contracts.Kind }",
        ("Kind", "fields" | "attributes") | ("Listing" | "Lookup", "columns") => "{ _ | contracts.Field }",
        ("Lookup", "filters") => "{ _ | contracts.Filter }",
        ("Field", "type") => "contracts.Type",
        _ => return None,
    })
}

fn record(shape: &str, fields: &Fields, indent: usize, kinded: bool) -> String {
    let mut out = String::from("{\n");
    if kinded {
        let _ = writeln!(out, "{:indent$}\"kind\" | String,", "");
    }
    for (name, spec) in fields {
        let of = inner(shape, name).map_or_else(|| contract(&spec.kind, indent + 2), str::to_owned);
        let _ = write!(out, "{:indent$}{} | {of}", "", text(name));
        if !spec.one_of.is_empty() {
            let values: Vec<String> = spec.one_of.iter().map(|value| text(value)).collect();
            let _ = write!(out, " | OneOf [{}]", values.join(", "));
        }
        let _ = write!(out, " | doc {}", text(&spec.doc));
        out.push_str(if spec.required { ",\n" } else { " | optional,\n" });
    }
    let _ = write!(out, "{:less$}}}", "", less = indent - 2);
    out
}

fn contract(kind: &FieldType, indent: usize) -> String {
    match kind {
        FieldType::String => "String".into(),
        FieldType::Int => "std.number.Integer".into(),
        FieldType::Number => "Number".into(),
        FieldType::Bool => "Bool".into(),
        FieldType::Any => "Dyn".into(),
        FieldType::List(inner) => format!("Array ({})", contract(inner, indent)),
        FieldType::Map(inner) => format!("{{ _ | {} }}", contract(inner, indent)),
        FieldType::Record(fields) => record("", fields, indent, false),
    }
}

/// A manifest held against the contract: its value, or what is wrong with it.
fn held(manifest: &str) -> Result<Json, String> {
    let source = Source::Text {
        name: "manifest.ncl".into(),
        folder: "/".into(),
        text: format!("let provider = import \"provider.ncl\" in ({manifest}) | provider.Manifest"),
    };
    let request = Request { sources: vec![source], library: Some(super::library()), ..Request::default() };
    let evaluated = Evaluator::default().eval(&request);
    evaluated.map(|it| it.value.clone()).map_err(|error| error.first.message)
}

#[test]
fn the_contract_is_the_one_that_the_check_uses() {
    let evaluator = Evaluator::default();
    let text = generate(Contract::get(&evaluator).unwrap());
    if std::env::var("WRITE_TABLE").is_ok() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/provider_contract.ncl");
        std::fs::write(file, &text).unwrap();
        return;
    }
    assert_eq!(text, TEXT, "schemas/provider_contract.ncl is another one; write it with WRITE_TABLE=1");
}

#[test]
fn built_in_manifests_keep_it_and_are_what_they_were() {
    for (name, text) in BUILT_IN {
        let request = Request { sources: vec![built_in(name).unwrap()], ..Request::default() };
        let alone = Evaluator::default().eval(&request).unwrap();
        assert_eq!(held(text).unwrap(), alone.value, "{name}");
    }
}

#[test]
fn it_bites_where_the_check_would() {
    let with = |rest: &str| {
        held(&format!(
            "{{ name = \"acme\", version = \"1.0.0\", api = \"1\", protocol = \"rest-json\", types = {{ \"box\" = {{ doc = \"A box.\", identity = \"tagged\", fields = {{}} }} }} }} & {{ {rest} }}"
        ))
    };
    assert!(with("").is_ok(), "{:?}", with(""));
    for (mistake, told) in [
        ("protokol = \"rust\"", "protokol"),
        ("types.\"box\".fields.size = { type = \"integer\" }", "expected one of"),
        (
            "types.\"box\".fields.size = { type = { list = { record = { a = { type = \"strin\" } } } } }",
            "expected one of",
        ),
        ("types.\"box\".fields.size = { type = { set = \"int\" } }", "expected the name of a type"),
        ("types.\"box\".fields.size.requird = true, types.\"box\".fields.size.type = \"int\"", "requird"),
        ("types.\"box\".list = { path = 3 }", "contract"),
        ("pagination = { kind = \"pages\" }", "expected a `kind`"),
        ("auth = [{ kind = \"bearer\" }]", "token"),
    ] {
        let message = with(mistake).unwrap_err();
        assert!(message.contains(told), "{mistake}: {message}");
    }
}
