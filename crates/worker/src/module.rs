//! Owns what a module has: its commands with their signatures, and what it says about itself.

use crate::process::Process;
use crate::{Asked, Fault, Raised, program, script};
use provision_diagnostic::{Code, Diagnostic, Excerpt, Failure, Severity, Source, excerpt, nearest};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// The file that makes a folder a module.
pub const MODULE: &str = "mod.nu";
/// The commands of a provider.
pub const COMMANDS: [&str; 6] = ["schema", "create", "read", "list", "update", "delete"];
/// How long a module may take to say what it has.
const LIMIT: Duration = Duration::from_secs(30);
const WRONG: Code = Code::ProviderModule;

/// What a module has.
pub struct Described {
    /// What its `schema` gives; null where it was not asked for.
    pub schema: Json,
    /// Those of the commands that it has.
    pub commands: Vec<String>,
    /// What could be better.
    pub remarks: Vec<Diagnostic>,
}

/// Loads the module of a folder, checks that it has the `wanted` commands and that they can be called, and asks for its
/// schema where that is one of them.
pub fn describe(folder: &Path, wanted: &[&str], env: &[(String, String)]) -> Result<Described, Failure> {
    let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_str());
    let program = program::find(path).map_err(|why| {
        Failure::new(Code::ProviderNoNu, format!("the provider in {} is a Nushell module: {why}", folder.display()))
            .with_help("Install Nushell, or put it in PATH.")
    })?;
    let start = |script: &str| {
        Process::start(&program, folder, script, env).map_err(|error| {
            Failure::new(Code::ProviderNoNu, format!("{} cannot be started: {error}", program.display()))
        })
    };
    let never = AtomicBool::new(false);
    let asked = Asked { interrupt: &never, limit: LIMIT, hide: &str::to_owned };
    let mut listing = start(script::COMMANDS)?;
    // What is noted while it is loaded is noted again by the next one.
    let found = listing
        .answer(&Asked { hide: &|_| String::new(), ..asked })
        .map_err(|fault| unloaded(folder, fault, &mut listing))?;
    drop(listing);
    let (commands, mut diagnostics) = signatures(folder, &found, wanted);
    let remarks: Vec<Diagnostic> = diagnostics.extract_if(.., |one| one.severity != Severity::Error).collect();
    Failure::check(diagnostics)?;
    let mut schema = Json::Null;
    if wanted.contains(&"schema") {
        let mut serving = start(&script::serve(&["schema".to_owned()]))?;
        let answer = serving.ask(&json!({ "command": "schema", "request": {} }), &asked);
        schema = answer.map_err(|fault| match fault {
            Fault::Raised(raised) => failure(format!("`schema` failed: {}", raised.message), *raised),
            other => unloaded(folder, other, &mut serving),
        })?;
    }
    Ok(Described { schema, commands, remarks })
}

fn failure(message: String, raised: Raised) -> Failure {
    let help = raised.help.unwrap_or_else(|| "Mend the module at the marked place.".to_owned());
    Diagnostic::error(WRONG, message).with_help(help).with_excerpt(raised.place).into()
}

/// Why a module could not be loaded.
fn unloaded(folder: &Path, fault: Fault, process: &mut Process) -> Failure {
    let file = folder.join(MODULE);
    let what = format!("the module {} cannot be loaded", file.display());
    match fault {
        Fault::Ended(how) | Fault::NotBegun(how) => match parse_error(&process.last_words()) {
            Some(raised) => failure(format!("{what}: {}", raised.message), raised),
            None => Failure::new(WRONG, format!("{what}: {how}")).with_help("Run it by itself: `nu -c 'use mod.nu'`."),
        },
        Fault::Hung(limit) => Failure::new(WRONG, format!("{what}: it is not done after {} s", limit.as_secs()))
            .with_help("Loading a module and its `schema` must not wait for anything."),
        Fault::Unreadable(why) => Failure::new(WRONG, format!("{what}: its answer cannot be read: {why}"))
            .with_help("Give plain data: records, lists, texts, numbers."),
        Fault::Interrupted => Failure::new(WRONG, format!("{what}: it was interrupted")),
        Fault::Raised(raised) => failure(format!("{what}: {}", raised.message), *raised),
    }
}

/// What Nushell's parser says of a file, from its error output: the first error with its place.
pub(crate) fn parse_error(text: &str) -> Option<Raised> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("Error: nu::"));
    let code = lines.next()?.strip_prefix("Error: ")?.trim().to_owned();
    let mut message = String::new();
    let mut place = None;
    for line in lines {
        let plain = line.trim();
        let at =
            [",-[", "╭─[", ",-[ "].iter().find_map(|mark| plain.strip_prefix(mark)).and_then(|it| it.strip_suffix(']'));
        if let Some(at) = at {
            place = located(at);
            break;
        }
        if line.starts_with("Error:") {
            break;
        }
        let said = plain.trim_start_matches(['x', '×', '|', '│', ' ']);
        if !said.is_empty() {
            message += if message.is_empty() { "" } else { " " };
            message += said;
        }
    }
    let message = message.trim_end_matches('.').to_owned();
    Some(Raised { message, code: Some(code), help: None, place })
}

/// `/a/mod.nu:7:70` as a place in the file.
fn located(at: &str) -> Option<Excerpt> {
    let (rest, column) = at.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    let (line, column): (usize, usize) = (line.parse().ok()?, column.parse().ok()?);
    let text = std::fs::read_to_string(file).ok()?;
    let begin: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let within = text.get(begin..)?.chars().take(column.saturating_sub(1)).map(char::len_utf8).sum::<usize>();
    let start = begin + within;
    let word = text.get(start..)?.find(|c: char| c.is_whitespace()).unwrap_or(1).max(1);
    Some(excerpt(Source { name: file, text: &text }, start..start + word))
}

/// Which of the wanted commands there are, and what is wrong with how they are declared.
fn signatures(folder: &Path, found: &Json, wanted: &[&str]) -> (Vec<String>, Vec<Diagnostic>) {
    let file = folder.join(MODULE);
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let all: Vec<(&str, &Json)> = found
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| Some((row["name"].as_str()?.strip_prefix("mod ")?, &row["signatures"])))
        .collect();
    let (mut commands, mut wrong) = (Vec::new(), Vec::new());
    for command in wanted {
        let Some((_, signatures)) = all.iter().find(|(name, _)| name == command) else {
            let near = nearest(command, all.iter().map(|(name, _)| *name).filter(|name| !COMMANDS.contains(name)));
            let help = match near {
                Some(near) => format!("Did you mean it by `{near}`? A provider exports {}.", COMMANDS.join(", ")),
                None => format!("Add `export def {}`.", declaration(command)),
            };
            wrong.push(
                Diagnostic::error(WRONG, format!("the module {shown} does not export `{command}`")).with_help(help),
            );
            continue;
        };
        let place = defined(&text, command).map(|range| excerpt(Source { name: &shown, text: &text }, range));
        let help = format!("Declare it `export def {}`.", declaration(command));
        match misfit(command, signatures) {
            Some((severity, why)) => {
                let said = Diagnostic::error(WRONG, format!("`{command}` {why}"));
                let said = Diagnostic { severity, ..said.with_help(help).with_excerpt(place) };
                if severity != Severity::Error {
                    commands.push((*command).to_owned());
                }
                wrong.push(said);
            }
            None => commands.push((*command).to_owned()),
        }
    }
    (commands, wrong)
}

/// How a command is declared.
fn declaration(command: &str) -> String {
    match command {
        "schema" => "schema []: nothing -> record { … }".to_owned(),
        "create" => "create [request: record]: nothing -> record { … }".to_owned(),
        "list" => "list [request: record]: nothing -> table { … }".to_owned(),
        other => format!("{other} [request: record]: nothing -> any {{ … }}"),
    }
}

/// Why a signature is not that of its command.
fn misfit(command: &str, signatures: &Json) -> Option<(Severity, String)> {
    let forms = signatures.as_object()?;
    let (input, parameters) =
        ["nothing", "any"].iter().find_map(|input| Some((*input, forms.get(*input)?.as_array()?))).or_else(|| {
            let (input, parameters) = forms.iter().next()?;
            Some((input.as_str(), parameters.as_array()?))
        })?;
    if !["nothing", "any"].contains(&input) {
        return Some((Severity::Error, format!("takes its input from the pipeline ({input}), which is empty")));
    }
    let is_required = |it: &&Json| it["parameter_type"] == "positional" && it["is_optional"] == false;
    let required: Vec<&Json> = parameters.iter().filter(is_required).collect();
    let takes = usize::from(command != "schema");
    if required.len() != takes {
        let wants = if takes == 0 { "nothing" } else { "one record" };
        return Some((Severity::Error, format!("takes {} parameters, and is called with {wants}", required.len())));
    }
    if let Some(shape) = required.first().and_then(|it| it["syntax_shape"].as_str()) {
        if !shape.starts_with("record") && shape != "any" && !shape.starts_with("oneof") {
            return Some((Severity::Error, format!("takes a {shape}, and is called with a record")));
        }
        if shape == "any" {
            return Some((Severity::Warning, "does not say that it takes a record".to_owned()));
        }
    }
    (input == "any").then(|| (Severity::Warning, "does not say what it takes and gives".to_owned()))
}

/// Where the module of a folder defines a command.
pub fn place(folder: &Path, command: &str) -> Option<Excerpt> {
    let file = folder.join(MODULE);
    let text = std::fs::read_to_string(&file).ok()?;
    let range = defined(&text, command)?;
    Some(excerpt(Source { name: &file.display().to_string(), text: &text }, range))
}

/// Where a command is defined.
fn defined(text: &str, command: &str) -> Option<std::ops::Range<usize>> {
    text.match_indices("def ").find_map(|(at, _)| {
        let name = text[at + 4..].trim_start_matches(['"', '\'', ' ']);
        let begin = text.len() - name.len();
        let rest = name.strip_prefix(command)?;
        let ends = rest.starts_with(|c: char| c.is_whitespace() || c == '"' || c == '\'' || c == '[');
        ends.then(|| begin..begin + command.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(shapes: &[&str]) -> Json {
        let positional =
            |shape: &&str| json!({"parameter_type": "positional", "syntax_shape": shape, "is_optional": false});
        Json::Array(shapes.iter().map(positional).collect())
    }

    #[test]
    fn a_signature_is_held_against_how_the_command_is_called() {
        let wrong = |command: &str, signatures: Json| misfit(command, &signatures).map(|(_, why)| why);
        assert_eq!(wrong("create", json!({"nothing": parameters(&["record"])})), None);
        assert_eq!(wrong("create", json!({"nothing": parameters(&["record<type: string>"])})), None);
        assert_eq!(wrong("schema", json!({"nothing": []})), None);
        for (command, signatures, said) in [
            ("create", json!({"string": parameters(&["record"])}), "from the pipeline (string)"),
            ("create", json!({"nothing": parameters(&[])}), "takes 0 parameters"),
            ("create", json!({"nothing": parameters(&["record", "int"])}), "takes 2 parameters"),
            ("schema", json!({"nothing": parameters(&["record"])}), "called with nothing"),
            ("read", json!({"nothing": parameters(&["string"])}), "takes a string"),
            ("read", json!({"any": parameters(&["any"])}), "does not say"),
        ] {
            assert!(wrong(command, signatures.clone()).unwrap().contains(said), "{command} {signatures}");
        }
    }

    #[test]
    fn a_definition_is_found_by_its_name() {
        let text = "# def create\nexport def create-all [] {}\nexport def \"create\" [it: record] {}\n";
        let found = defined(text, "create").unwrap();
        assert!(text[..found.start].ends_with("def \"") || text[..found.start].ends_with("# def "), "{found:?}");
        assert_eq!(defined(text, "delete"), None);
    }

    #[test]
    fn what_the_parser_says_is_read_with_its_place() {
        let folder = std::env::temp_dir().join(format!("nup-parse-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(MODULE);
        std::fs::write(&file, "# é\nlet x = 1 + true\n").unwrap();
        let said = format!(
            "Error: nu::parser::x\n\n  x Types differ\n  | here.\n   ,-[{}:2:9]\n 2 | let\n   : ^\n",
            file.display()
        );
        let found = parse_error(&said).unwrap();
        let place = found.place.clone().unwrap().position;
        assert_eq!((found.message.as_str(), place.line, place.column), ("Types differ here", 2, 9));
        assert!(found.to_string().ends_with("mod.nu:2:9)"), "{found}");
        assert!(parse_error("nothing of the kind").is_none());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
