//! Owns finding a project and reading its configuration, with positions for every problem.

use crate::Session;
use crate::scope::LeftOut;
use provision_diagnostic::{Diagnostic, Failure, Position, excerpt};
use provision_model::{Config, Json, Problem, Step};
use provision_nickel::{Positions, Request, Source};
use provision_registry::{elements, located, real};
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
    /// Where what the chosen environment says stands: in the whole it has the place of what put it there.
    own: Option<Positions>,
    /// What a target does not reach.
    pub left_out: LeftOut,
}

impl Located {
    /// One that is no file.
    pub fn of(config: Config) -> Self {
        Self { config, positions: None, own: None, left_out: LeftOut::default() }
    }

    /// The diagnostic of a problem, at its place in the source where there is one.
    pub fn diagnostic(&self, problem: Problem) -> Diagnostic {
        let both: Vec<&Positions> = [&self.positions, &self.own].into_iter().flatten().collect();
        located(&both, problem, |position| !position.file.starts_with(GENERATED))
    }
}

impl Located {
    /// Whether a position is within what stands at a path.
    pub fn holds(&self, path: &[Step], at: &Position) -> bool {
        let whole = [&self.positions, &self.own].into_iter().flatten().find_map(|it| it.value(&elements(path)));
        whole
            .is_some_and(|it| it.position.file == at.file && it.position.start <= at.start && at.end <= it.position.end)
    }
}

impl Session {
    /// Evaluates and reads a configuration. Problems of shape and those that Nickel found come together.
    pub(crate) fn read(&self, input: &Input) -> Result<(Located, Vec<Diagnostic>), Failure> {
        let (located, mut diagnostics, problems) = self.read_apart(input)?;
        diagnostics.extend(problems.into_iter().map(|problem| located.diagnostic(problem)));
        Ok((located, diagnostics))
    }

    /// The same with what Nickel found apart from the problems of shape.
    pub(crate) fn read_apart(&self, input: &Input) -> Result<(Located, Vec<Diagnostic>, Vec<Problem>), Failure> {
        let own = match input {
            Input::Project => self.own_positions(&self.project.join(INFRA)),
            Input::File(file) => self.own_positions(file),
            Input::Data { .. } => None,
        };
        let (value, positions, diagnostics) = match input {
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
        let (mut config, mut problems) = Config::read(&value);
        if !matches!(input, Input::Project) {
            self.with_own_policies(&mut config)?;
        }
        // Where Nickel reported something, holes in the data are its consequence.
        if !diagnostics.is_empty() {
            let hole = ["provision::config::invalid", "provision::plan::unknown_type"];
            problems.retain(|problem| !hole.contains(&problem.code));
        }
        Ok((Located { config, positions, own, left_out: LeftOut::default() }, diagnostics, problems))
    }

    /// What is configured, as far as it can be read. Where it cannot, the project and its policies are those of the last
    /// change: what was applied can be let go of whatever became of the file, and no mistake in it gets past a policy.
    pub(crate) fn standing(&self, input: &Input) -> Result<Located, Failure> {
        let (mut located, whole) = match self.read(input) {
            Ok((located, diagnostics)) => (located, diagnostics.is_empty()),
            Err(failure) if failure.code() == "provision::config::environment" => return Err(failure),
            Err(_) => (Located::of(Config::default()), false),
        };
        let serial = self.store.serial()?;
        if !whole && serial > 0 {
            let last = self.store.change(serial)?;
            let config = &mut located.config;
            config.policies = config.policies.take().or(last.policies);
            if config.name.is_empty() {
                config.name = last.project.unwrap_or_default();
            }
        }
        Ok(located)
    }

    /// Refuses an environment that the project's file does not have; without a file there is none to ask.
    pub fn known_environment(&self) -> Result<(), Failure> {
        let file = self.project.join(INFRA);
        match &self.environment {
            Some(environment) if file.is_file() => self.check_environment(&file, environment),
            _ => Ok(()),
        }
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
        // Whoever wrote the project chose what it imports, and must not reach for what the caller may read besides. The
        // caller's own words count: the file that was named, and the import path of the environment.
        let mut roots = self.registry.import_roots(&self.project);
        let folders = sources.iter().filter_map(|source| match source {
            Source::File(file) => file.parent(),
            Source::Text { folder, .. } => Some(folder),
        });
        let named = folders.chain(self.import_paths.iter().map(PathBuf::as_path));
        roots.extend(named.filter(|folder| folder.parent().is_some()).map(real));
        Request {
            sources,
            confine: Some(roots),
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
        let (evaluated, mut diagnostics) = self.evaluator.eval_partial(&self.request(file))?;
        diagnostics.iter_mut().for_each(|one| self.out_of_generated(one));
        let evaluated = Arc::unwrap_or_clone(evaluated);
        Ok((evaluated.value, Some(evaluated.positions), diagnostics))
    }

    /// Where the parts of the chosen environment stand in the file.
    fn own_positions(&self, file: &Path) -> Option<Positions> {
        let environment = self.environment.as_ref().filter(|_| file.is_file())?;
        let text = format!("import_of_file.environments.\"{environment}\"");
        let request = self.request_of(vec![beside(file, &text)]);
        self.evaluator.eval_partial(&request).ok().map(|(evaluated, _)| evaluated.positions.clone())
    }

    /// Shows a mistake where it was written, not in the text that puts an environment above the rest.
    fn out_of_generated(&self, diagnostic: &mut Diagnostic) {
        if !diagnostic.position.as_ref().is_some_and(|at| at.file.starts_with(GENERATED)) {
            return;
        }
        let written = diagnostic
            .labels
            .iter()
            .map(|label| &label.position)
            .find(|at| !at.file.starts_with(GENERATED) && self.shown_from.join(&at.file).is_file());
        let Some(at) = written.cloned() else { return };
        let Ok(text) = std::fs::read_to_string(self.shown_from.join(&at.file)) else { return };
        diagnostic.labels.clear();
        // It is said in the help once more, where the other place was the first.
        let told = at.to_string();
        if let Some(help) = &mut diagnostic.help {
            *help = help.lines().filter(|line| !line.ends_with(&told)).collect::<Vec<_>>().join("\n");
        }
        let drawn = excerpt(provision_diagnostic::Source { name: &at.file, text: &text }, at.start..at.end);
        *diagnostic = diagnostic.clone().with_excerpt(Some(drawn));
    }

    /// Refuses an environment that the file does not have.
    fn check_environment(&self, file: &Path, environment: &str) -> Result<(), Failure> {
        let names =
            "let environments = std.record.get_or \"environments\" {} import_of_file in std.record.fields environments";
        let request = Request { positions: false, ..self.request_of(vec![beside(file, names)]) };
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

/// How the names of texts begin that nobody wrote.
const GENERATED: &str = "environment of ";

/// A text of Nickel beside a file, which it calls `import_of_file`.
pub(crate) fn beside(file: &Path, text: &str) -> Source {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    Source::Text {
        name: format!("{GENERATED}{name}"),
        folder: file.parent().map(Path::to_path_buf).unwrap_or_default(),
        text: format!("let import_of_file = import {} in {text}", Json::from(name.as_ref())),
    }
}
