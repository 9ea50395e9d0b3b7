# The shop from a typed file to three clouds and back, on the embedded sandbox.
# Run it with `cargo xtask demo`, or by hand in a copy of this folder with the three plugins loaded.

# A heading that reads without colour.
def heading [text: string]: nothing -> nothing {
    print $"\n== ($text)"
}

# Stops the demo with a reason when something is not as it should be.
def check [what: string, holds: bool]: nothing -> nothing {
    if not $holds {
        error make --unspanned {msg: $"the demo expected: ($what)" code: "demo::expectation"}
    }
    print $"   ok: ($what)"
}

# Prints an event as one line, and passes it on.
def show-event []: record -> record {
    let event = $in
    let took = if $event.status == "done" { $" in ($event.elapsed | format duration ms)" } else { "" }
    if $event.status in [started done failed denied in_doubt] {
        print $"   ($event.status | fill --width 8) ($event.action) ($event.address)($took)"
    }
    $event
}

# The whole walk; PID_FILE gets the process id of the sandbox, so that a caller can look whether it is gone.
def main [pid_file?: path]: nothing -> nothing {
    heading "start Hetzner, UpCloud and AWS on this machine"
    let sandbox = provision sandbox start
    if $pid_file != null { $sandbox.pid | save --force $pid_file }
    print $"   at ($sandbox.url), process ($sandbox.pid)"
    let outcome = try { walk; null } catch {|error| $error }
    if (provision sandbox status).running { provision sandbox stop | ignore }
    if $outcome != null {
        print --stderr $outcome.rendered
        exit 1
    }
    heading "stop the sandbox"
    check "it is stopped" (not (provision sandbox status).running)
    check "its process is gone" (ps | where pid == $sandbox.pid | is-empty)
    print "\nThat was `provision plan`, `policy authorize`, `provision apply`, `provision output` and `provision destroy`."
}

# What happens while the sandbox runs.
def walk []: nothing -> nothing {
    heading "nickel eval infra.ncl | provision plan"
    let plan = nickel eval infra.ncl | provision plan
    print ($plan | select address provider action reason)
    check "at least twelve resources" (($plan | length) >= 12)
    check "on three clouds" (($plan | get provider | uniq | length) == 3)
    let clouds = $plan | reduce --fold {} {|row, all| $all | insert $row.address $row.provider }
    let across = $plan | where {|row| $row.depends_on | any {|address| ($clouds | get --optional ([$address] | into cell-path)) != $row.provider } }
    check $"references across clouds: ($across | get address | str join ', ')" (($across | length) > 0)

    heading "… | policy authorize"
    let decided = $plan | policy authorize
    print ($decided | group-by decision --to-table | each {|group| {decision: $group.decision rows: ($group.items | length) policies: ($group.items.reasons | flatten | get policy | uniq | str join ", ")} })
    check "policies allow every row" ($decided | all {|row| $row.decision == "allow" })

    heading "… | where decision == allow | provision apply"
    let events = $decided | where decision == "allow" | provision apply | each { show-event }
    let done = $events | where status == "done"
    check "everything was made" (($done | length) == ($plan | length))

    heading "provision output"
    print (provision output | table --expand)

    heading "provision plan, again"
    let again = provision plan
    print ($again | select address? action?)
    check "there is nothing left to do" ($again | is-empty)
    print ((provision sandbox status).resources | where count > 0)

    heading "provision destroy --yes"
    let gone = provision destroy --yes | each { show-event } | where status == "done"
    check "everything was deleted" (($gone | length) == ($plan | length))
    check "the clouds are empty" (((provision sandbox status).resources | get count | append 0 | math sum) == 0)
}
