# Composes the plugins nickel, policy and provision: deploy with a question, errors drawn in your files, a check-up.
#
# Load it after the plugins: `use nu-lib`.

use guard.nu [require-command]
use errors.nu [raise-errors]

const NU_VERSION = "0.115.1"
const PLUGINS = [[name command]; [nickel "nickel eval"] [policy "policy authorize"] [provision "provision plan"]]

# Plan, show what would change, ask, and apply.
#
# Returns the events of the apply as they happen; an empty table when there is nothing to do or the answer is no.
# Mistakes in the infrastructure are drawn with carets in your file.
@category provision
@search-terms apply infrastructure ask confirm
@example "Deploy the project in this folder" { nu-lib deploy }
@example "Deploy a file without being asked" { nu-lib deploy shop.ncl --yes }
export def deploy [
    file?: path # Nickel file; the project's infra.ncl by default
    --project: directory # Folder of the project; found upwards from here by default
    --yes (-y) # Apply without asking
]: nothing -> table {
    require-command "provision plan"
    let file = if $file == null { null } else { $file | path expand }
    # Plan and apply find the project from the same folder.
    cd ($project | default (if $file == null { "." } else { $file | path dirname }))
    let plan = try {
        if $file == null { provision plan } else { provision plan $file }
    } catch {|error|
        $error | raise-errors
    }
    if ($plan | is-empty) {
        print "Nothing to do."
        return []
    }
    print ($plan | select address provider action reason)
    if not $yes {
        let answer = input $"Apply these ($plan | length) changes? Only `yes` applies them: "
        if ($answer | str trim | str lowercase) != "yes" {
            print "Nothing was changed."
            return []
        }
    }
    $plan | provision apply
}

# Raise what a check found, or an error that was caught, drawn with carets in the user's own file.
#
# Takes the diagnostics table of `nickel check` and `policy check`, or the record that `catch` gives. An empty table
# raises nothing. The code of the first is the code of the error.
@category provision
@search-terms carets position diagnostics
@example "Stop a script at the first mistake in a file" { nickel check infra.ncl | nu-lib show-errors }
@example "Draw an error of a command" { try { nickel eval infra.ncl } catch {|error| $error | nu-lib show-errors } }
export def show-errors []: [table -> nothing, list<any> -> nothing, record -> nothing] {
    $in | raise-errors
}

# Check that Nushell and the plugins are there and fit each other.
#
# Returns rows `part, version, expected, status, help`; `status` is ok, missing or mismatch.
@category provision
@search-terms version check diagnose
@example "What is wrong with this installation?" { nu-lib doctor | where status != ok }
export def doctor []: nothing -> table<part: string, version: any, expected: string, status: string, help: any> {
    let running = (version).version
    let shell = {
        part: "nu"
        version: $running
        expected: $NU_VERSION
        status: (if $running == $NU_VERSION { "ok" } else { "mismatch" })
        help: (if $running == $NU_VERSION { null } else { $"Use Nushell ($NU_VERSION): plugins speak to one version only." })
    }
    # The declared type of `plugin list` is not the one it has, so it is copied by column.
    let known = plugin list | each {|plugin| {name: $plugin.name version: $plugin.version} }
    let commands = scope commands | where type == plugin | get name
    let expected = $known | where name == provision | get --optional 0.version | default "0.1.0"
    let plugins = $PLUGINS | each {|plugin|
        let version = $known | where name == $plugin.name | get --optional 0.version
        let status = if $plugin.command not-in $commands {
            "missing"
        } else if $version != null and $version != $expected {
            "mismatch"
        } else {
            "ok"
        }
        let help = match $status {
            "missing" => $"Run `plugin add /path/to/nu_plugin_($plugin.name)`, then `plugin use ($plugin.name)`."
            "mismatch" => "Run `cargo xtask install` again: the plugins belong together."
            _ => null
        }
        {part: $plugin.name version: $version expected: $expected status: $status help: $help}
    }
    [$shell] ++ $plugins
}

# Stop with instructions when a plugin's command is not loaded.
#
# A module that was parsed without the plugin would run a program of the command's name instead.
@category provision
@example "First line of a command of your own" { nu-lib require "provision plan" }
export def require [
    command: string # Name of a command of one of the plugins
]: nothing -> nothing {
    require-command $command
}
