# Things on a shelf: each a file of the folder `shelf`. A file `trouble` in the project orders one mishap, and each call is
# noted in `calls`.

export def schema []: nothing -> record {
  {
    version: "1.0.0"
    api: "1"
    doc: "Things on a shelf"
    timeout: "2s"
    settings: {
      dir: {doc: "Folder of the things.", default: shelf}
      key: {doc: "What opens it.", env: [SHELF_KEY], sensitive: true}
    }
    types: {
      thing: {
        doc: "A thing."
        identity: tagged
        fields: {
          title: {type: string, doc: "Title.", required: true}
          size: {type: int, doc: "Size.", default: 1}
          kind: {type: string, doc: "Kind.", default: plain, on_change: replace}
          tags: {type: {map: string}, doc: "Tags."}
          code: {type: string, doc: "Secret code.", sensitive: true, visible: never}
        }
        attributes: {
          id: {type: string, doc: "Its id."}
          loud: {type: string, doc: "The title, loud."}
        }
      }
    }
  }
}

export def create [request: record]: nothing -> record {
  trouble create before $request
  let id = (random uuid)
  mkdir (shelf $request)
  $request.fields | merge {id: $id, mark: $request.mark} | to json | save (file $request $id)
  trouble create after $request
  {id: $id}
}

export def read [request: record]: nothing -> any {
  trouble read before $request
  let file = file $request $request.id
  if ($file | path exists) { show (open $file) }
}

export def list [request: record]: nothing -> table {
  trouble list before $request
  if not (shelf $request | path exists) { return [] }
  ls (shelf $request) | get name | each {|file| show (open $file) }
}

export def update [request: record]: nothing -> record {
  trouble update before $request
  let file = file $request $request.id
  if not ($file | path exists) { error make {msg: "not on the shelf", code: gone} }
  $request.fields | merge {id: $request.id, mark: $request.mark} | to json | save --force $file
  trouble update after $request
  {id: $request.id}
}

export def delete [request: record]: nothing -> nothing {
  trouble delete before $request
  let file = file $request $request.id
  if not ($file | path exists) { error make {msg: "not on the shelf", code: gone} }
  rm $file
  trouble delete after $request
}

def shelf [request: record]: nothing -> path { $env.PROVISION_PROJECT | path join $request.account.dir }

def file [request: record, id: string]: nothing -> path { shelf $request | path join $"($id).json" }

def show [thing: record]: nothing -> record {
  $thing | reject --optional code | insert loud ($thing.title | str uppercase)
}

# Does what the file `trouble` orders: `create after die`; `create after die always` more than once.
def trouble [command: string, moment: string, request: record] {
  if $moment == before { $"($command)\n" | save --append ($env.PROVISION_PROJECT | path join calls) }
  let file = $env.PROVISION_PROJECT | path join trouble
  if not ($file | path exists) { return }
  let order = open --raw $file | str trim | split row " "
  if ($order | first 2) != [$command $moment] { return }
  if ($order | get 3?) != always { rm $file }
  match $order.2 {
    die => {
      let child = $env.PROVISION_PROJECT | path join child.pid
      ^/bin/sh -c $"sleep 600 >/dev/null 2>&1 & echo $! > '($child)'"
      ^kill -9 $nu.pid
      sleep 1min
    }
    exit => { exit 3 }
    hang => { $"($nu.pid)" | save --force ($env.PROVISION_PROJECT | path join worker.pid); ^sleep 600 }
    say => { print "a word on the way"; print --stderr "an aside"; print $"the code is ($request.fields?.code?) and the key ($request.account.key)"; ^/bin/sh -c "echo from a tool >&2"; ^cat }
    raise => { error make {msg: $"no room for ($request.fields?.code?)", help: "make room"} }
    break => { [1 2] | get 7 }
    busy => { error make {msg: "locked", code: busy} }
    quota => { error make {msg: "the shelf is full", code: quota} }
    conflict => { error make {msg: "there is one", code: conflict} }
  }
}
