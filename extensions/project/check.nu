# What has to hold before anything is applied: `nu check.nu`, here and in CI. It fails with the first mistake.
def main [] {
  policy check policies | ignore
  let cases = policy test policies/tests.ncl --policies policies
  if ($cases | any {|case| not $case.pass }) {
    error make { msg: "the policies decide otherwise than policies/tests.ncl says", help: ($cases | where not pass | get name | str join ", ") }
  }
  let rows = provision plan
  print ($rows | select address action reason)
  $rows | policy authorize --policies policies | where decision == deny | each {|row|
    print $"($row.action) of ($row.address) would be denied"
  }
  ignore
}
