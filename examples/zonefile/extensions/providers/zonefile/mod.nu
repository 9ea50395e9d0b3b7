# DNS records in a zone file: a provider in Nushell.
#
# A record set is a line of the file for each of its values. One change at a time: the file is replaced whole, under a lock that
# goes when whoever holds it goes, and only where it still is what was read.

# Takes the new text for the file, unless that changed meanwhile.
const SWAP = r#'
test "$(sha256sum < "$1")" = "$2  -" && cat > "$1.new" && mv "$1.new" "$1"
'#

# What a user can write, and what each change of it costs.
export def schema []: nothing -> record {
  {
    version: "0.1.0"
    api: "1"
    doc: "DNS records in a zone file"
    timeout: "20s"
    settings: {
      file: {doc: "The zone file, from the folder of the project.", required: true, example: "example.zone"}
    }
    types: {
      record: {
        doc: "The records of one name and type."
        identity: keyed
        unique: ["name,type"]
        fields: {
          name: {type: string, doc: "Name within the zone, `@` for the zone itself.", required: true, on_change: replace, example: www, other: api}
          type: {type: string, doc: "Type of the records.", one_of: [A AAAA CNAME MX NS TXT], default: A, on_change: replace, example: TXT, other: NS}
          values: {type: {list: string}, doc: "Their values.", required: true, unordered: true, example: [one.example.], other: [two.example. three.example.]}
          ttl: {type: int, doc: "How long they may be kept, in seconds.", default: 3600, example: 300, other: 600}
        }
        attributes: {
          id: {type: string, doc: "Name and type."}
        }
      }
    }
  }
}

# Adds the records of a name and type that has none.
export def create [request: record]: nothing -> record {
  let it = $request.fields
  change $request.account {|records|
    if ($records | any {|other| is-of $other $it }) {
      error make {msg: $"($it.name) has ($it.type) records already", code: conflict}
    }
    $records | append (lines-of $it)
  }
  {id: (id-of $it), ...$it}
}

# The records with an id, or null.
export def read [request: record]: nothing -> any {
  list $request | where id == $request.id | get 0?
}

# All records of the zone, those of one name and type together.
export def list [request: record]: nothing -> table {
  records $request.account | group-by --to-table name type | each {|group|
    let first = $group.items.0
    {id: (id-of $first), name: $first.name, type: $first.type, values: $group.items.value, ttl: $first.ttl}
  }
}

# Gives the records of a name and type other values or another time.
export def update [request: record]: nothing -> record {
  let it = $request.fields
  change $request.account {|records|
    if not ($records | any {|other| (id-of $other) == $request.id }) {
      error make {msg: $"there are no records ($request.id)", code: gone}
    }
    $records | where {|other| (id-of $other) != $request.id } | append (lines-of $it)
  }
  {id: $request.id, ...$it}
}

# Removes the records of a name and type.
export def delete [request: record]: nothing -> nothing {
  change $request.account {|records| $records | where {|other| (id-of $other) != $request.id } }
}

def id-of [it: record]: nothing -> string { $"($it.name)/($it.type)" }

def is-of [record: record, it: record]: nothing -> bool { $record.name == $it.name and $record.type == $it.type }

def lines-of [it: record]: nothing -> table {
  $it.values | each {|value| {name: $it.name, ttl: $it.ttl, type: $it.type, value: $value} }
}

# Where the zone file is.
def file-of [account: record]: nothing -> path {
  $env.PROVISION_PROJECT | path join $account.file
}

def text-of [file: path]: nothing -> string {
  if ($file | path exists) { open --raw $file | decode utf-8 } else { "" }
}

# The records of a text; comments and directives are no records.
def parse-zone []: string -> table {
  lines | where ($it | str trim) != "" and not ($it starts-with ";") and not ($it starts-with "$")
  | parse --regex '^(?<name>\S+)\s+(?<ttl>\d+)\s+IN\s+(?<type>\S+)\s+(?<value>.*\S)\s*$'
  | each {|it| $it | merge {ttl: ($it.ttl | into int)} }
}

def records [account: record]: nothing -> table { text-of (file-of $account) | parse-zone }

# Replaces the records of the file by what a closure makes of them.
def change [account: record, edit: closure] {
  let file = file-of $account
  touch $file
  for attempt in 1..20 {
    let before = text-of $file
    let records = $before | parse-zone
    # What is no record stays where it is, above them.
    let head = $before | lines | where ($it | parse-zone | is-empty)
    let after = do $edit $records | each {|it| $"($it.name) ($it.ttl) IN ($it.type) ($it.value)" }
    let swapped = $head | append $after | each {|line| $"($line)\n" } | str join
      | ^flock --timeout 10 $"($file).lock" /bin/sh -c $SWAP sh $file ($before | hash sha256) | complete
    if $swapped.exit_code == 0 { return }
  }
  error make {msg: $"($file) is changed by somebody else all the time", code: busy}
}
