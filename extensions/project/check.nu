# What has to hold before anything is applied: `nu check.nu`, here and in CI. It fails with the first mistake.
def main [] {
  policy check --strict --policies policies | ignore
  let failed = policy test policies/tests.ncl --policies policies | where status != passed
  if ($failed | is-not-empty) {
    error make { msg: "the policies decide otherwise than policies/tests.ncl says", help: ($failed | get case | str join ", ") }
  }
  let rows = provision plan
  $rows | policy authorize --policies policies | where decision == deny | each {|row|
    print $"($row.action) of ($row.address) would be denied"
  } | ignore
  $rows | select address action reason
}
