# Owns the tests of deploy, with resources that live in the state alone.
use std/assert
use ../nu-lib

const LIBRARY = path self ../nu-lib

const INFRA = 'let p = import "provision.ncl" in
{ name = "t", resources = { a = p.local.data & { input = 1 }, b = p.local.data & { input = p.ref "a" "id" } } } | p.Infrastructure
'

export def "test deploy applies and has nothing to do afterwards" [] {
    $INFRA | save infra.ncl
    let events = nu-lib deploy --yes
    assert equal ($events | where status == done | get address | sort) [a b]
    assert equal (nu-lib deploy --yes) []
    assert equal (provision state list | get address | sort) [a b]
}

export def "test deploy takes a file in another folder" [] {
    mkdir elsewhere
    $INFRA | save elsewhere/infra.ncl
    assert equal (nu-lib deploy elsewhere/infra.ncl --yes | where status == done | length) 2
    assert ("elsewhere/.provision" | path exists)
}

export def "test deploy asks and a no changes nothing" [] {
    $INFRA | save infra.ncl
    let plugins = plugin list | get filename | to nuon
    let said = "no\n" | ^$nu.current-exe -n --no-std-lib --plugins $plugins --stdin -c $"use '($LIBRARY)'; nu-lib deploy | to json --raw" | complete
    assert (($said.stdout | str contains "Nothing was changed") or $said.exit_code != 0) $said.stdout
    assert equal (provision plan | length) 2
}

export def "test deploy draws a mistake in the file" [] {
    $INFRA | str replace "input = 1" "inptu = 1" | save infra.ncl
    let raised = try { nu-lib deploy --yes; null } catch {|error| $error }
    assert str contains $raised.rendered "infra.ncl:2:"
    assert str contains $raised.rendered "inptu = 1"
}
