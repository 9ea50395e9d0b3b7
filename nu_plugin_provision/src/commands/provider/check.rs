//! Owns `provision provider check`: what is wrong with a manifest, as a table.

use crate::ProvisionPlugin;
use crate::open::{project_flag, project_folder};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type};
use provision_diagnostic::{Code, Failure, Severity};
use provision_nickel::Source;
use provision_nu_bridge::{diagnostics_table, labeled, resolve_path, user_dir};
use provision_registry::{Linted, attach, built_in, check_module, folder_of, lint};
use std::path::{Path, PathBuf};

pub struct ProviderCheck;

impl PluginCommand for ProviderCheck {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision provider check"
    }

    fn description(&self) -> &str {
        "Look for mistakes in a provider manifest, giving every one as a row."
    }

    fn extra_description(&self) -> &str {
        "A path is a manifest, a Nushell module or its folder; a name is an installed provider. The table is empty when nothing is wrong. In a project it also writes what `import \"provision.ncl\"` gives to `.provision/schemas`, for editors and the official Nickel command."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "lint", "manifest", "validate", "diagnostics"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .required("provider", SyntaxShape::String, "A manifest, its folder, or the name of an installed provider.")
            .switch("strict", "Raise the errors instead of returning them.", None)
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: r#"provision provider check hetzner"#,
                description: "Look at an installed provider",
                result: None,
            },
            Example {
                example: r#"provision provider check extensions/providers/acme --strict"#,
                description: "Stop a script when a manifest is wrong",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        drop(input);
        let given: Spanned<String> = call.req(0)?;
        let project = project_folder(engine, call)?;
        let user_dir = user_dir(engine)?;
        let raised = |failure: Failure| labeled(&failure, given.span, "this manifest");
        let here = PathBuf::from(engine.get_current_dir()?);
        let at = resolve_path(engine, &given.item)?;
        let found = subject(&given.item, &at, project.as_deref(), user_dir.as_deref()).map_err(raised)?;
        let looked_at = match found {
            Subject::Manifest(source) => {
                let folder = match &source {
                    Source::File(file) => file.parent().map(Path::to_path_buf),
                    _ => None,
                };
                lint(source, &plugin.evaluator, Some(here)).map(|linted| with_module(linted, folder.as_deref()))
            }
            Subject::Module(folder) => {
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                check_module(&folder, &name, &plugin.evaluator)
            }
        };
        let found = match looked_at {
            Ok(linted) => linted.diagnostics,
            Err(failure) => failure.into_diagnostics(),
        };
        // Editors see what holds now, as far as the manifests can be loaded.
        if let Some(project) = &project
            && let Ok(registry) = plugin.registry.get(Some(project), user_dir.as_deref(), &plugin.evaluator)
        {
            registry.write_schemas(&project.join(".provision/schemas")).map_err(|error| {
                let failure = Failure::new(Code::StateIo, format!("cannot write the schemas: {error}"))
                    .with_help("Check the permissions of the folder `.provision`.");
                labeled(&failure, call.head, "while writing the schemas")
            })?;
        }
        if call.has_flag("strict")? {
            let errors = found.iter().filter(|one| one.severity == Severity::Error).cloned().collect();
            Failure::check(errors).map_err(raised)?;
        }
        Ok(PipelineData::value(diagnostics_table(&found, call.head), None))
    }
}

/// The same, with what is wrong with the module that some of its types are implemented by.
fn with_module(mut linted: Linted, folder: Option<&Path>) -> Linted {
    if let (Some(manifest), Some(folder)) = (&mut linted.manifest, folder) {
        match attach(manifest, folder) {
            Ok(remarks) => linted.diagnostics.extend(remarks),
            Err(failure) => linted.diagnostics.extend(failure.into_diagnostics()),
        }
    }
    linted
}

/// What is looked at.
enum Subject {
    Manifest(Source),
    /// The folder of a Nushell module.
    Module(PathBuf),
}

/// A path where there is something, else an installed provider.
fn subject(given: &str, at: &Path, project: Option<&Path>, user_dir: Option<&Path>) -> Result<Subject, Failure> {
    let in_folder = |folder: &Path| {
        let (manifest, module) = (folder.join("manifest.ncl"), folder.join("mod.nu"));
        if manifest.is_file() {
            return Some(Subject::Manifest(Source::File(manifest)));
        }
        module.is_file().then(|| Subject::Module(folder.to_path_buf()))
    };
    let named = !given.contains(['/', '.', '\\']);
    if named {
        let installed = [project.map(folder_of), user_dir.map(|it| it.join("providers"))];
        if let Some(found) = installed.into_iter().flatten().find_map(|it| in_folder(&it.join(given))) {
            return Ok(found);
        }
    }
    if at.is_file() {
        return Ok(match at.parent().filter(|_| at.ends_with("mod.nu")) {
            Some(folder) => Subject::Module(folder.to_path_buf()),
            None => Subject::Manifest(Source::File(at.to_path_buf())),
        });
    }
    in_folder(at).or_else(|| built_in(given).filter(|_| named).map(Subject::Manifest)).ok_or_else(|| {
        Failure::new(Code::ProviderUnknown, format!("there is neither a manifest nor a provider `{given}`"))
            .with_help("Give a `manifest.ncl`, a `mod.nu`, its folder, or a name from `provision provider list`.")
    })
}
