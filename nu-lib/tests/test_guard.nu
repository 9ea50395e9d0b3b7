# Owns the tests of the guard and of the check-up.
use std/assert
use ../nu-lib

const LIBRARY = path self ../nu-lib

export def "test a loaded command passes" [] {
    assert equal (nu-lib require "nickel eval") null
}

export def "test a missing command stops with its plugin and the next step" [] {
    let caught = try { nu-lib require "gone thing" } catch {|error| $error.details }
    assert equal $caught.code "nu_lib::plugin_missing"
    assert str contains $caught.msg "`gone`"
    assert str contains $caught.help "plugin use gone"
}

export def "test deploy without plugins runs no program of that name" [] {
    let said = ^$nu.current-exe -n --no-std-lib -c $"use '($LIBRARY)'; try { nu-lib deploy } catch {|error| $error.details.code }" | complete
    assert equal ($said.stdout | str trim) "nu_lib::plugin_missing" $said.stderr
}

export def "test doctor finds everything in place" [] {
    let found = nu-lib doctor
    assert equal ($found | get part) [nu nickel policy provision]
    assert equal ($found | where status != ok) []
}

export def "test doctor names what is missing" [] {
    let said = ^$nu.current-exe -n --no-std-lib -c $"use '($LIBRARY)'; nu-lib doctor | to json" | complete
    let rows = $said.stdout | from json
    assert equal ($rows | where status == missing | get part) [nickel policy provision]
    assert str contains ($rows | where part == policy | get 0.help) "nu_plugin_policy"
}
