//! Owns the Cedar schema generated from the manifests: each resource type an entity type with typed attributes.

use crate::{Manifest, pascal};
use indexmap::IndexMap;
use provision_model::{FieldSpec, FieldType};
use std::fmt::Write;

const COMMON: &str = r#"// Generated from the provider manifests in force; do not edit.
namespace Provision {
  entity Group;
  entity User in [Group] = { "name": String };
  entity Environment;
  entity Provider;
  entity Project in [Environment];
  type Totals = { "create": Long, "update": Long, "replace": Long, "delete": Long, "resources": Long };
  type Context = {
    "environment": String,
    "source": String,
    "time": datetime,
    "approvals": Set<String>,
    "mfa"?: Bool,
    "disruption": String,
    "protected": Bool,
    "plan": Totals,
    "subset": Totals,
    "after": Totals,
  };
  type Approving = {
    "environment": String,
    "source": String,
    "time": datetime,
    "mfa"?: Bool,
    "role": String,
    "author": User,
    "plan": Totals,
  };
"#;

/// Actions a plan row can be, and those that change what the state says of a resource.
pub const ACTIONS: &[&str] =
    &["create", "update", "replace", "delete", "adopt", "forget", "read", "move", "mark", "unprotect"];

/// The whole schema.
pub fn schema<'a>(manifests: impl Iterator<Item = &'a Manifest>) -> String {
    let mut types = Vec::new();
    let mut spaces = String::new();
    for manifest in manifests {
        let space = manifest.cedar_namespace();
        // Writing to a String cannot fail.
        let _ = writeln!(spaces, "namespace {space} {{");
        for (name, spec) in &manifest.types {
            let entity = pascal(name);
            types.push(format!("{space}::{entity}"));
            let tags = spec.fields.values().any(|field| matches!(field.kind, FieldType::Map(_)));
            let _ = writeln!(
                spaces,
                "  // {}\n  entity {entity} in [Provision::Project, Provision::Environment, Provision::Provider] = {{",
                spec.doc
            );
            let _ = writeln!(spaces, "    \"address\": String,");
            attributes(&spec.fields, true, 4, &mut spaces);
            if !spec.fields.contains_key("before") {
                // What it is now, for a change of it: every attribute may be missing.
                let _ = writeln!(spaces, "    \"before\"?: {{");
                attributes(&spec.fields, false, 6, &mut spaces);
                let _ = writeln!(spaces, "    }},");
            }
            let _ = writeln!(spaces, "  }}{};", if tags { " tags String" } else { "" });
        }
        spaces.push_str("}\n");
    }
    let mut out = String::from(COMMON);
    for action in ACTIONS {
        let _ = writeln!(
            out,
            "  action \"{action}\" appliesTo {{ principal: [User], resource: [{}], context: Context }};",
            types.join(", ")
        );
    }
    let _ = writeln!(
        out,
        "  action \"change_policy\", \"adopt_project\", \"import_state\", \"rekey\", \"restore\", \"test_provider\" appliesTo {{ principal: [User], resource: [Project], context: Context }};\n  \
         action \"approve\" appliesTo {{ principal: [User], resource: [Project], context: Approving }};\n}}"
    );
    out.push_str(&spaces);
    out
}

fn attributes(fields: &IndexMap<String, FieldSpec>, top: bool, indent: usize, out: &mut String) {
    for (name, spec) in fields {
        // Sensitive values are left out of every question; free-form maps are tags at the top.
        if spec.sensitive || (top && matches!(spec.kind, FieldType::Map(_))) {
            continue;
        }
        let Some(kind) = cedar_type(&spec.kind, indent) else { continue };
        let always = top && (spec.required || spec.default.is_some() || spec.default_name);
        let _ = writeln!(out, "{:indent$}\"{name}\"{}: {kind},", "", if always { "" } else { "?" });
    }
}

fn cedar_type(kind: &FieldType, indent: usize) -> Option<String> {
    Some(match kind {
        FieldType::String => "String".into(),
        FieldType::Int => "Long".into(),
        FieldType::Number => "decimal".into(),
        FieldType::Bool => "Bool".into(),
        FieldType::List(inner) => format!("Set<{}>", cedar_type(inner, indent + 2)?),
        FieldType::Record(fields) => {
            let mut inner = String::new();
            attributes(fields, false, indent + 2, &mut inner);
            format!("{{\n{inner}{:indent$}}}", "")
        }
        FieldType::Any | FieldType::Map(_) => return None,
    })
}
