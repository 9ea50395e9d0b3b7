//! Owns the text of `provision.ncl`, the one import of user files, generated from the manifests in force.

use crate::Manifest;
use indexmap::IndexMap;
use provision_model::{FieldSpec, FieldType, Json};
use std::fmt::Write;

/// The generated file.
pub fn generate<'a>(manifests: impl Iterator<Item = &'a Manifest>) -> String {
    let mut out = String::from(
        "# Generated from the provider manifests in force; do not edit.\n\
         let lib = import \"infrastructure.ncl\" in\n\
         let f = lib.field in\n\
         {\n  ref = lib.ref,\n  env = lib.env,\n  secret = lib.secret,\n  join = lib.join,\n  lookup = lib.lookup,\n  each = lib.each,\n  Infrastructure = lib.Infrastructure,\n",
    );
    for manifest in manifests {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {} | doc {} = {{", name(&manifest.name), text(&manifest.doc));
        let _ = writeln!(
            out,
            "    account | doc \"Another account or region of {}, for `providers`.\" = {{ \"$account\" = {} }},",
            manifest.name,
            text(&manifest.name)
        );
        for (type_name, spec) in &manifest.types {
            let kind = format!("{}.{type_name}", manifest.name);
            let _ = writeln!(
                out,
                "    {} | doc {} = {{ \"$type\" = {} }} | {{",
                name(type_name),
                text(&spec.doc),
                text(&kind)
            );
            fields(&spec.fields, 6, &mut out);
            out.push_str("      \"$type\" | String,\n      lifecycle | lib.Lifecycle | doc \"How it may be changed.\" | optional,\n");
            out.push_str(
                "      depends_on | Array String | doc \"Addresses it waits for.\" | optional,\n      ..\n    },\n",
            );
        }
        out.push_str("  },\n");
    }
    out.push_str("}\n");
    out
}

fn fields(specs: &IndexMap<String, FieldSpec>, indent: usize, out: &mut String) {
    for (field, spec) in specs {
        let _ = write!(out, "{:indent$}{} | {}", "", name(field), contract(&spec.kind, indent + 2));
        if !spec.doc.is_empty() {
            let _ = write!(out, " | doc {}", text(&spec.doc));
        }
        match &spec.default {
            Some(default) => {
                let _ = write!(out, " | default = {}", literal(default));
            }
            None if !spec.required => out.push_str(" | optional"),
            None => {}
        }
        out.push_str(",\n");
    }
}

fn contract(kind: &FieldType, indent: usize) -> String {
    match kind {
        FieldType::String => "f.Text".into(),
        FieldType::Int => "f.Int".into(),
        FieldType::Number => "f.Num".into(),
        FieldType::Bool => "f.Flag".into(),
        FieldType::Any => "Dyn".into(),
        FieldType::List(inner) => format!("f.Or (Array ({}))", contract(inner, indent)),
        FieldType::Map(inner) => format!("f.Or {{ _ : {} }}", contract(inner, indent)),
        FieldType::Record(specs) => {
            let mut inner = String::new();
            fields(specs, indent, &mut inner);
            format!("f.Or {{\n{inner}{:indent$}..\n{:less$}}}", "", "", less = indent - 2)
        }
    }
}

fn name(name: &str) -> String {
    text(name)
}

/// A text as Nickel writes it.
pub fn text(text: &str) -> String {
    // JSON strings are Nickel strings but for interpolation.
    Json::from(text).to_string().replace("%{", "\\%{")
}

fn literal(value: &Json) -> String {
    match value {
        Json::Object(map) => {
            let parts: Vec<String> =
                map.iter().map(|(key, item)| format!("{} = {}", text(key), literal(item))).collect();
            format!("{{ {} }}", parts.join(", "))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Json::String(value) => text(value),
        other => other.to_string(),
    }
}
