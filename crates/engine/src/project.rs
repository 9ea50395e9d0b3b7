//! Owns finding a project and reading its configuration, with positions for every problem.

use crate::Session;
use provision_diagnostic::{Diagnostic, Failure};
use provision_model::{Config, Json, Problem};
use provision_nickel::{Positions, Request, Source};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file a project is found by.
pub const INFRA: &str = "infra.ncl";

/// What `nickel eval` notes about the data it gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceNote {
    pub file: PathBuf,
    pub digest: String,
}

/// Where a configuration comes from.
#[derive(Debug, Clone)]
pub enum Input {
    /// The project's `infra.ncl`.
    Project,
    File(PathBuf),
    /// Data, and where it was evaluated from if that is known.
    Data {
        value: Json,
        note: Option<SourceNote>,
    },
}

/// The nearest folder from `start` upwards with an `infra.ncl` or a state.
pub fn find_project(start: &Path) -> Option<PathBuf> {
    start
        .ancestors()
        .find(|folder| folder.join(INFRA).is_file() || folder.join(".provision/state.db").is_file())
        .map(Path::to_path_buf)
}

/// A configuration with the means to say where its parts stand.
pub struct Located {
    pub config: Config,
    positions: Option<Positions>,
}

impl Located {
    /// One that is no file.
    pub fn of(config: Config) -> Self {
        Self { config, positions: None }
    }

    /// The diagnostic of a problem, at its place in the source where there is one.
    pub fn diagnostic(&self, problem: Problem) -> Diagnostic {
        provision_registry::located(self.positions.as_ref(), problem)
    }
}

impl Session {
    /// Evaluates and reads a configuration. Problems of shape and those that Nickel found come together.
    pub(crate) fn read(&self, input: &Input) -> Result<(Located, Vec<Diagnostic>), Failure> {
        let (value, positions, mut diagnostics) = match input {
            Input::Project => self.evaluate(&self.project.join(INFRA))?,
            Input::File(file) => self.evaluate(file)?,
            Input::Data { value, note } => {
                // The positions of the file hold as long as it still gives the same data.
                let positions = note.as_ref().and_then(|note| {
                    let evaluated = self.evaluator.eval(&self.request(&note.file)).ok()?;
                    (evaluated.value == *value).then(|| evaluated.positions.clone())
                });
                (value.clone(), positions, Vec::new())
            }
        };
        let (config, problems) = Config::read(&value);
        let located = Located { config, positions };
        // Where Nickel reported something, holes in the data are its consequence.
        if diagnostics.is_empty() {
            diagnostics.extend(problems.into_iter().map(|problem| located.diagnostic(problem)));
        } else {
            let holes = |problem: &Problem| {
                problem.code != "provision::config::invalid" && problem.code != "provision::plan::unknown_type"
            };
            diagnostics.extend(problems.into_iter().filter(holes).map(|problem| located.diagnostic(problem)));
        }
        Ok((located, diagnostics))
    }

    fn request(&self, file: &Path) -> Request {
        let mut sources = vec![Source::File(file.to_path_buf())];
        if let Some(environment) = &self.environment {
            // What an environment says stands above what the rest of the file says.
            sources.push(beside(file, &format!("{ABOVE} above import_of_file.environments.\"{environment}\"")));
        }
        self.request_of(sources)
    }

    pub(crate) fn request_of(&self, sources: Vec<Source>) -> Request {
        Request {
            sources,
            library: Some(self.registry.library()),
            import_paths: self.import_paths.clone(),
            positions: true,
            interrupt: Some(self.stop.flag()),
            shown_from: Some(self.shown_from.clone()),
            ..Request::default()
        }
    }

    fn evaluate(&self, file: &Path) -> Result<(Json, Option<Positions>, Vec<Diagnostic>), Failure> {
        if !file.is_file() {
            let code = if file.ends_with(INFRA) { "provision::config::no_project" } else { "nickel::io" };
            return Err(Failure::new(code, format!("there is no file {}", file.display()))
                .with_help("Go to a project folder, name one with --project, or give a Nickel file."));
        }
        if let Some(environment) = &self.environment {
            self.check_environment(file, environment)?;
        }
        let (evaluated, diagnostics) = self.evaluator.eval_partial(&self.request(file))?;
        let evaluated = Arc::unwrap_or_clone(evaluated);
        Ok((evaluated.value, Some(evaluated.positions), diagnostics))
    }

    /// Refuses an environment that the file does not have.
    fn check_environment(&self, file: &Path, environment: &str) -> Result<(), Failure> {
        let names =
            "let environments = std.record.get_or \"environments\" {} import_of_file in std.record.fields environments";
        let request = Request { sources: vec![beside(file, names)], positions: false, ..self.request_of(Vec::new()) };
        // What is wrong with the file itself is told when it is evaluated.
        let Ok(found) = self.evaluator.eval(&request) else { return Ok(()) };
        let known: Vec<&str> = found.value.as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        if known.contains(&environment) {
            return Ok(());
        }
        let help = match provision_diagnostic::nearest(environment, known.iter().copied()) {
            Some(near) => format!("Did you mean `{near}`?"),
            None if known.is_empty() => format!("Add `environments.{environment} = {{ … }}` to {}.", file.display()),
            None => format!("There are {}.", known.join(", ")),
        };
        Err(Failure::new("provision::config::environment", format!("there is no environment `{environment}`"))
            .with_help(help))
    }
}

/// A function that gives every leaf of a record the highest priority; references are leaves.
const ABOVE: &str = r#"let rec above = fun value =>
  std.array.fold_left
    (fun all name =>
      let it = std.record.get name value in
      let leaf = !(std.is_record it) || std.array.any (std.string.is_match "^\\$") (std.record.fields it) in
      all & (if leaf then { "%{name}" | force = it } else { "%{name}" = above it }))
    {}
    (std.record.fields value)
in"#;

/// A text of Nickel beside a file, which it calls `import_of_file`.
fn beside(file: &Path, text: &str) -> Source {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    Source::Text {
        name: format!("environment of {name}"),
        folder: file.parent().map(Path::to_path_buf).unwrap_or_default(),
        text: format!("let import_of_file = import {} in {text}", Json::from(name.as_ref())),
    }
}
