# Debian's alternatives: a provider that wraps a command line tool, `update-alternatives`.

# What a user can write, and what each change of it costs.
export def schema []: nothing -> record {
  {
    version: "0.1.0"
    api: "1"
    doc: "Alternatives of Debian, by update-alternatives"
    settings: {
      linkdir: {doc: "Folder of the generic names, from the folder of the project.", default: "/usr/bin", example: bin}
      altdir: {doc: "Folder of the links behind them, from the folder of the project.", default: "/etc/alternatives", example: alternatives}
      admindir: {doc: "Folder of the database, from the folder of the project.", default: "/var/lib/dpkg/alternatives", example: database}
    }
    types: {
      choice: {
        doc: "A program that can stand behind a generic name."
        identity: keyed
        unique: ["name,path"]
        fields: {
          name: {type: string, doc: "Generic name, such as `editor`.", required: true, on_change: replace, example: pager, other: viewer}
          path: {type: string, doc: "The program.", required: true, on_change: replace, example: "/bin/cat", other: "/bin/more"}
          priority: {type: int, doc: "The highest one is taken.", default: 50, example: 10, other: 20}
        }
        attributes: {
          id: {type: string, doc: "Name and program."}
        }
      }
    }
  }
}

# Installs a choice.
export def create [request: record]: nothing -> record {
  let it = $request.fields
  if (choices $request.account $it.name | any {|other| $other.path == $it.path }) {
    error make {msg: $"($it.path) is a choice of ($it.name) already", code: conflict}
  }
  install $request.account $it
}

# A choice by its id, or null.
export def read [request: record]: nothing -> any {
  choices $request.account ($request.id | split row ":" | first) | where id == $request.id | get 0?
}

# All choices of all names.
export def list [request: record]: nothing -> table {
  ask $request.account [--get-selections] | lines | each {|line| $line | split row --regex '\s+' | first }
  | each {|name| choices $request.account $name } | flatten
}

# Installed again, a choice has its new priority.
export def update [request: record]: nothing -> record {
  install $request.account $request.fields
}

# Removes a choice.
export def delete [request: record]: nothing -> nothing {
  ask $request.account [--remove $request.prior.name $request.prior.path] | ignore
}

def install [account: record, it: record]: nothing -> record {
  let link = $env.PROVISION_PROJECT | path join $account.linkdir $it.name
  mkdir ($link | path dirname)
  ask $account [--install $link $it.name $it.path ($it.priority | into string)] | ignore
  {id: $"($it.name):($it.path)", ...$it}
}

# The choices of a name; none of one that there is not.
def choices [account: record, name: string]: nothing -> table {
  let said = tool $account [--query $name] | complete
  if $said.exit_code != 0 { return [] }
  # The first block is of the name itself.
  $said.stdout | split row "\n\n" | skip 1 | each {|block| $block | parse-block } | each {|it|
    {id: $"($name):($it.Alternative)", name: $name, path: $it.Alternative, priority: ($it.Priority | into int)}
  }
}

# `Key: value` lines as a record.
def parse-block []: string -> record {
  lines | parse --regex '^(?<key>\w+): (?<value>.*)$' | reduce --fold {} {|it, all| $all | upsert $it.key $it.value }
}

# Runs the tool; what it refuses is an error with its words.
def ask [account: record, arguments: list<string>]: nothing -> string {
  let said = tool $account $arguments | complete
  if $said.exit_code != 0 {
    error make {msg: ($said.stderr | str trim | str replace "update-alternatives: " ""), code: invalid}
  }
  $said.stdout
}

def tool [account: record, arguments: list<string>]: nothing -> any {
  let folders = [$account.altdir $account.admindir] | each {|folder| $env.PROVISION_PROJECT | path join $folder }
  mkdir ...$folders
  ^update-alternatives --log /dev/null --altdir $folders.0 --admindir $folders.1 ...$arguments
}
