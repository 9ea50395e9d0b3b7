//! Owns the text that a worker runs. Requests and answers are data and never part of it.

/// The variable with the word that an answer begins with.
pub const TOKEN: &str = "NU_PROVISION_TOKEN";

/// Lists the module's commands with their signatures. Nothing of the module is called: what is called wrongly would be an
/// error of this text, not of the module.
pub const COMMANDS: &str = r#"use mod.nu
let found = {value: (scope commands | where type == custom and name starts-with "mod " | select name signatures)}
print $"\n($env.NU_PROVISION_TOKEN)($found | to json --raw)"
"#;

/// Runs what it is asked for until nobody can ask any more: then a job ends the process and everything it started, also in
/// the middle of a call. Requests come over descriptor 3, so that nothing in the module reads them away.
pub fn serve(commands: &[String]) -> String {
    let arms: Vec<String> = commands
        .iter()
        .map(|command| match command.as_str() {
            "schema" => "    schema => (mod schema)\n".to_owned(),
            other => format!("    {other} => (mod {other} $asked.request)\n"),
        })
        .collect();
    format!(
        r#"use mod.nu
let token = $env.NU_PROVISION_TOKEN
hide-env NU_PROVISION_TOKEN
job spawn {{
  try {{ open --raw /dev/fd/3 | lines | each {{|line| $line | job send 0 }} | ignore }}
  ^/bin/sh -c $"kill -9 -($nu.pid)"
}} | ignore
loop {{
  let asked = (job recv | from json)
  let answer = try {{
    {{value: (match $asked.command {{
{}    }})}} | to json --raw
  }} catch {{|error| {{error: $error.details}} | to json --raw }}
  print $"\n($token)($answer)"
}}
"#,
        arms.concat()
    )
}
