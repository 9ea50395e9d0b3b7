# Owns the tests of drawing errors in the user's files.
use std/assert
use ../nu-lib

export def "test nothing found raises nothing" [] {
    assert equal ([] | nu-lib show-errors) null
}

export def "test a mistake is drawn at its line with carets" [] {
    "{\n  name = \"shöp\",\n  port | Number = \"eighty\",\n}\n" | save infra.ncl
    let raised = try { nu-lib-eval infra.ncl; null } catch {|error| $error }
    assert equal $raised.details.code "nickel::eval::contract"
    assert str contains $raised.rendered "infra.ncl:3:"
    assert str contains $raised.rendered "port | Number = \"eighty\""
    assert not ($raised.rendered | str contains "errors.nu") $raised.rendered
}

export def "test every mistake of a check is drawn" [] {
    "{ a = , }" | save a.ncl
    "{ b = 1 " | save b.ncl
    let found = nickel check a.ncl b.ncl
    let raised = try { $found | nu-lib show-errors; null } catch {|error| $error }
    assert equal $raised.details.code "nickel::parse"
    assert str contains $raised.rendered "a.ncl:1:"
    assert str contains $raised.rendered "b.ncl:1:"
}

export def "test what has no place is told in words" [] {
    let rows = [[code message file start end help]; ["nickel::io" "no file" null null null "Look."] ["nickel::io" "no other" null null null null]]
    let caught = try { $rows | nu-lib show-errors; null } catch {|error| $error.details }
    assert equal $caught.msg "no file, and 1 more"
    assert equal $caught.help "Look.\nno other"
}

# Evaluates a file; its error is drawn.
def nu-lib-eval [file: path]: nothing -> any {
    try { nickel eval $file } catch {|error| $error | nu-lib show-errors }
}
