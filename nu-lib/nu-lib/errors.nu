# Owns drawing errors in files that are not Nushell's: only Nu code can do that, a plugin cannot.

# Raises one error with all that was found beneath it, each at its place. Nothing found raises nothing.
export def raise-errors []: any -> nothing {
    let found = $in
    let rows = if ($found | describe --detailed).type == "record" { from-caught $found } else { $found }
    let rows = $rows | each {|row| $row | insert placed (has-place $row) }
    if ($rows | is-not-empty) {
        let first = $rows | first
        let others = ($rows | length) - 1
        let placed = $rows | where placed
        # An error without a place would be drawn in this very file.
        let told = $rows | skip 1 | where not placed | get message
        let help = [(if $first.placed { null } else { $first.help? }) ...$told] | compact | str join "\n"
        error make --unspanned ({
            msg: (if $others == 0 { $first.message } else { $"($first.message), and ($others) more" })
            code: $first.code
            inner: ($placed | each {|row| drawn $row })
        } | merge (if $help == "" { {} } else { {help: $help} }))
    }
}

# Whether a row can be drawn.
def has-place [row: record]: nothing -> bool {
    $row.file? != null and $row.start? != null and ($row.file | path exists)
}

# A diagnostics row as an error with carets.
def drawn [row: record]: nothing -> record {
    {
        msg: $row.message
        src: {name: $row.file text: (open --raw $row.file | decode utf-8)}
        labels: [{text: $row.code span: {start: $row.start end: $row.end}}]
    } | merge (if $row.help? == null { {} } else { {help: $row.help} })
}

# What `catch` gives, as diagnostics rows: the error itself and those beneath it.
def from-caught [caught: record]: nothing -> table {
    let details = $caught.details? | default $caught
    [$details] ++ ($details.inner? | default []) | each {|error| row-of $error }
}

# The position is in the message, `what (file:line:column)`, its length is that of the carets in the help.
def row-of [error: record]: nothing -> record {
    let code = $error.code? | default "nu_lib::error"
    let help = $error.help?
    let at = $error.msg | parse --regex '^(?<message>(?s:.*)) \((?<file>[^()]+):(?<line>\d+):(?<column>\d+)\)$'
    let place = $at | get --optional 0
    if $place == null or not ($place.file | path exists) {
        return {message: $error.msg code: $code file: null start: null end: null help: $help}
    }
    let line = $place.line | into int
    let column = $place.column | into int
    let text = open --raw $place.file | decode utf-8
    let before = $text | split row "\n" | first $line
    # Offsets count bytes, columns count characters.
    let lines = $before | drop 1 | each {|line| ($line | str length --utf-8-bytes) + 1 } | append 0 | math sum
    let inside = $before | last | split chars | first ($column - 1) | str join | str length --utf-8-bytes
    let start = $lines + $inside
    let carets = $help | default "" | parse --regex '(?<carets>\^+)\s*$' | get --optional 0.carets | default "^"
    let marked = $before | last | split chars | skip ($column - 1) | first ($carets | str length) | str join
    {
        message: $place.message
        code: $code
        file: $place.file
        start: $start
        end: ($start + ([($marked | str length --utf-8-bytes) 1] | math max))
        # The excerpt is drawn by Nushell now.
        help: ($help | default "" | split row "\n\n" | first)
    }
}
