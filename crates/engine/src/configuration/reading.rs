//! Owns reading a configuration, with positions for every problem.

use crate::configuration::named::with_own_policies;
use crate::configuration::scope::LeftOut;
use crate::project::INFRA;
use crate::workspace::Workspace;
use provision_diagnostic::{Code, Diagnostic, Failure, Position, excerpt};
use provision_model::{Config, Json, Problem, Step};
use provision_nickel::{Positions, Request, Source};
use provision_registry::{elements, located, real};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// The project's configuration, whose mistakes are an error; an empty one where the project has no file.
pub(crate) fn configured(on: &Workspace) -> Result<Config, Failure> {
    if !on.project.folder.join(INFRA).is_file() {
        return Ok(Config::default());
    }
    let (located, diagnostics) = read_input(on, &Input::Project)?;
    Failure::check(diagnostics)?;
    Ok(located.config)
}

/// Evaluates and reads a configuration. Problems of shape and those that Nickel found come together.
pub(crate) fn read_input(on: &Workspace, input: &Input) -> Result<(Located, Vec<Diagnostic>), Failure> {
    let (located, mut diagnostics, problems) = read_apart(on, input)?;
    diagnostics.extend(problems.into_iter().map(|problem| located.diagnostic(problem)));
    Ok((located, diagnostics))
}

/// The same with what Nickel found apart from the problems of shape.
pub(crate) fn read_apart(on: &Workspace, input: &Input) -> Result<(Located, Vec<Diagnostic>, Vec<Problem>), Failure> {
    let own = match input {
        Input::Project => own_positions(on, &on.project.folder.join(INFRA)),
        Input::File(file) => own_positions(on, file),
        Input::Data { .. } => None,
    };
    let (value, positions, diagnostics) = match input {
        Input::Project => evaluate(on, &on.project.folder.join(INFRA))?,
        Input::File(file) => evaluate(on, file)?,
        Input::Data { value, note } => {
            // The positions of the file hold as long as it still gives the same data.
            let positions = note.as_ref().and_then(|note| {
                let evaluated = on.project.evaluator.eval(&request(on, &note.file)).ok()?;
                (evaluated.value == *value).then(|| evaluated.positions.clone())
            });
            (value.clone(), positions, Vec::new())
        }
    };
    let (mut config, mut problems) = Config::read(&value);
    if !matches!(input, Input::Project) {
        with_own_policies(on, &mut config)?;
    }
    // Where Nickel reported something, holes in the data are its consequence.
    if !diagnostics.is_empty() {
        let hole = [Code::ConfigInvalid, Code::PlanUnknownType];
        problems.retain(|problem| !hole.contains(&problem.code));
    }
    Ok((Located { config, positions, own, left_out: LeftOut::default() }, diagnostics, problems))
}

/// What is configured, as far as it can be read. Where it cannot, the project and its policies are those of the last
/// change: what was applied can be let go of whatever became of the file, and no mistake in it gets past a policy.
pub(crate) fn standing(on: &Workspace, input: &Input) -> Result<Located, Failure> {
    let (mut located, whole) = match read_input(on, input) {
        Ok((located, diagnostics)) => (located, diagnostics.is_empty()),
        Err(failure) if failure.code() == Code::ConfigEnvironment => return Err(failure),
        Err(_) => (Located::of(Config::default()), false),
    };
    let serial = on.store.serial()?;
    if !whole && serial > 0 {
        let last = on.store.change(serial)?;
        let config = &mut located.config;
        config.policies = config.policies.take().or(last.policies);
        if config.name.is_empty() {
            config.name = last.project.unwrap_or_default();
        }
    }
    Ok(located)
}

/// Refuses an environment that the project's file does not have; without a file there is none to ask.
pub(crate) fn known_environment(on: &Workspace) -> Result<(), Failure> {
    let file = on.project.folder.join(INFRA);
    match &on.project.environment {
        Some(environment) if file.is_file() => check_environment(on, &file, environment),
        _ => Ok(()),
    }
}

pub(crate) fn request(on: &Workspace, file: &Path) -> Request {
    let mut sources = vec![Source::File(file.to_path_buf())];
    if let Some(environment) = &on.project.environment {
        // What an environment says stands above what the rest of the file says.
        sources.push(beside(file, &format!("{ABOVE} above import_of_file.environments.\"{environment}\"")));
    }
    request_of(on, sources)
}

pub(crate) fn request_of(on: &Workspace, sources: Vec<Source>) -> Request {
    // Whoever wrote the project chose what it imports, and must not reach for what the caller may read besides. The
    // caller's own words count: the file that was named, and the import path of the environment.
    let mut roots = on.project.registry.import_roots(&on.project.folder);
    let folders = sources.iter().filter_map(|source| match source {
        Source::File(file) => file.parent(),
        Source::Text { folder, .. } => Some(folder),
    });
    let named = folders.chain(on.project.import_paths.iter().map(PathBuf::as_path));
    roots.extend(named.filter(|folder| folder.parent().is_some()).map(real));
    Request {
        sources,
        confine: Some(roots),
        library: Some(on.project.registry.library()),
        import_paths: on.project.import_paths.clone(),
        positions: true,
        interrupt: Some(on.host.stop.flag()),
        shown_from: Some(on.project.shown_from.clone()),
        ..Request::default()
    }
}

pub(crate) fn evaluate(on: &Workspace, file: &Path) -> Result<(Json, Option<Positions>, Vec<Diagnostic>), Failure> {
    if !file.is_file() {
        let code = if file.ends_with(INFRA) { Code::ConfigNoProject } else { Code::NickelIo };
        return Err(Failure::new(code, format!("there is no file {}", file.display()))
            .with_help("Go to a project folder, name one with --project, or give a Nickel file."));
    }
    if let Some(environment) = &on.project.environment {
        check_environment(on, file, environment)?;
    }
    let (evaluated, mut diagnostics) = on.project.evaluator.eval_partial(&request(on, file))?;
    diagnostics.iter_mut().for_each(|one| out_of_generated(on, one));
    let evaluated = Arc::unwrap_or_clone(evaluated);
    Ok((evaluated.value, Some(evaluated.positions), diagnostics))
}

/// Where the parts of the chosen environment stand in the file.
fn own_positions(on: &Workspace, file: &Path) -> Option<Positions> {
    let environment = on.project.environment.as_ref().filter(|_| file.is_file())?;
    let text = format!("import_of_file.environments.\"{environment}\"");
    let request = request_of(on, vec![beside(file, &text)]);
    on.project.evaluator.eval_partial(&request).ok().map(|(evaluated, _)| evaluated.positions.clone())
}

/// Shows a mistake where it was written, not in the text that puts an environment above the rest.
fn out_of_generated(on: &Workspace, diagnostic: &mut Diagnostic) {
    if !diagnostic.position.as_ref().is_some_and(|at| at.file.starts_with(GENERATED)) {
        return;
    }
    let written = diagnostic
        .labels
        .iter()
        .map(|label| &label.position)
        .find(|at| !at.file.starts_with(GENERATED) && on.project.shown_from.join(&at.file).is_file());
    let Some(at) = written.cloned() else { return };
    let Ok(text) = std::fs::read_to_string(on.project.shown_from.join(&at.file)) else { return };
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
fn check_environment(on: &Workspace, file: &Path, environment: &str) -> Result<(), Failure> {
    let names =
        "let environments = std.record.get_or \"environments\" {} import_of_file in std.record.fields environments";
    let request = Request { positions: false, ..request_of(on, vec![beside(file, names)]) };
    // What is wrong with the file itself is told when it is evaluated.
    let Ok(found) = on.project.evaluator.eval(&request) else { return Ok(()) };
    let known: Vec<&str> = found.value.as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    if known.contains(&environment) {
        return Ok(());
    }
    let help = match provision_diagnostic::nearest(environment, known.iter().copied()) {
        Some(near) => format!("Did you mean `{near}`?"),
        None if known.is_empty() => format!("Add `environments.{environment} = {{ … }}` to {}.", file.display()),
        None => format!("There are {}.", known.join(", ")),
    };
    Err(Failure::new(Code::ConfigEnvironment, format!("there is no environment `{environment}`")).with_help(help))
}
