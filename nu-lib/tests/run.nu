# Runs the tests of nu-lib: every `export def "test …"` of the files test_*.nu, each in a fresh Nushell with the plugins
# and in a folder and home of its own. Prints `ok NAME` or `FAILED NAME: REASON`, and fails if any failed.
#
# By hand, in a Nushell that has the plugins: `nu nu-lib/tests/run.nu`. NU_BIN and NU_PLUGINS name others.

def main []: nothing -> nothing {
    let here = $env.FILE_PWD
    let shell = $env.NU_BIN? | default $nu.current-exe
    let plugins = $env.NU_PLUGINS? | default (plugin list | get filename | to nuon)
    let results = glob ($here | path join "test_*.nu") | sort | each {|file|
        open --raw $file | parse --regex '(?m)^export def "(?<name>test [^"]+)"' | get name | each {|name|
            run-test $shell $plugins $file $name
        }
    } | flatten
    for result in $results {
        print (if $result.reason == null { $"ok ($result.name)" } else { $"FAILED ($result.name): ($result.reason)" })
    }
    if ($results | is-empty) or ($results | any {|result| $result.reason != null }) { exit 1 }
}

# Runs one test in a folder of its own that goes afterwards.
def run-test [shell: path, plugins: string, file: path, name: string]: nothing -> record {
    let folder = mktemp --directory --tmpdir "nuXXXXXX"
    let module = $file | path parse | get stem
    let said = with-env {HOME: $folder, NO_COLOR: "1"} {
        cd $folder
        ^$shell -n --plugins $plugins -c $"use '($file)'; ($module) ($name)" | complete
    }
    rm --recursive --force $folder
    {name: $"($module) ($name)" reason: (if $said.exit_code == 0 { null } else { $said.stderr | str trim })}
}
