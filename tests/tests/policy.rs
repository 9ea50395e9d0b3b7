//! Owns what a user sees of `policy authorize`, `policy check` and `policy schema` in the real `nu`.

use provision_tests::{World, workspace};
use serde_json::json;

const QUESTIONS: &str = r#"[[principal action resource]; ['User::"ann"' 'Action::"view"' 'Photo::"a"'] ['User::"bob"' 'Action::"view"' 'Photo::"b"']]"#;

fn world() -> World {
    let world = World::with_plugins(&["nu_plugin_policy"]);
    world.write(
        "p.cedar",
        "permit(principal, action, resource);\n@id(\"not-bob\")\n@advice(\"ask ann\")\nforbid(principal == User::\"bob\", action, resource);\n",
    );
    world
}

#[test]
fn rows_come_back_with_decision_reasons_and_errors() {
    let world = world();
    let rows = world.json(&format!("{QUESTIONS} | policy authorize --policies p.cedar"));
    assert_eq!(rows[0]["decision"], json!("allow"));
    assert_eq!(rows[0]["principal"], json!("User::\"ann\""));
    assert_eq!(
        rows[0]["reasons"],
        json!([{"policy": "policy0", "effect": "permit", "annotations": {}, "file": "p.cedar", "line": 1}])
    );
    assert_eq!(rows[1]["decision"], json!("deny"));
    assert_eq!((&rows[1]["reasons"][0]["policy"], &rows[1]["reasons"][0]["line"]), (&json!("not-bob"), &json!(2)));
    assert_eq!(rows[1]["errors"], json!([]));
}

#[test]
fn only_filters_strict_raises_and_a_record_stays_one() {
    let world = world();
    let ask = |rest: &str| format!("{QUESTIONS} | policy authorize -p p.cedar {rest}");
    assert_eq!(world.json(&ask("--only allow | length")), json!(1));
    world.fails(&ask("--strict")).is("policy::denied", "`not-bob` (p.cedar:2)", "ask ann");
    let one = world.json("{ name: x } | policy authorize -p p.cedar --principal 'User::\"ann\"' --action { type: Action, id: view } --resource {|row| { type: Photo, id: $row.name } }");
    assert_eq!((&one["name"], &one["decision"]), (&json!("x"), &json!("allow")));
    world.fails("[{ a: 1 }] | policy authorize -p p.cedar").is(
        "policy::request",
        "which principal",
        "`request` record",
    );
}

#[test]
fn an_endless_stream_is_decided_as_it_comes() {
    let world = world();
    let script = "generate {|n| { out: { principal: { type: User, id: ($n | into string) }, action: 'Action::\"view\"', resource: 'Photo::\"a\"' }, next: ($n + 1) } } 0 \
        | policy authorize -p p.cedar | first 3 | get decision";
    assert_eq!(world.json(script), json!(["allow", "allow", "allow"]));
}

#[test]
fn a_folder_names_its_policies_by_file_and_the_project_is_found_upwards() {
    let world = world();
    world
        .write("infra.ncl", "{}")
        .write("policies/team/a.cedar", "permit(principal, action, resource);")
        .write("sub/x", "");
    let rows = world.json(&format!("cd sub; {QUESTIONS} | policy authorize"));
    assert_eq!(rows[0]["reasons"][0]["policy"], json!("team/a.cedar:policy0"));
    std::fs::remove_file(world.project().join("infra.ncl")).unwrap();
    world.fails(&format!("{QUESTIONS} | policy authorize")).is(
        "provision::config::no_project",
        "infra.ncl",
        "--policies",
    );
    world.fails(&format!("{QUESTIONS} | policy authorize -p none.cedar")).is(
        "policy::io",
        "none.cedar",
        "Check the path",
    );
}

#[test]
fn check_finds_syntax_and_names_and_strict_raises() {
    let world = world();
    world.write("bad.cedar", "permit(principal, action, resource)\nwhen { };");
    let table = world.json("policy check -p bad.cedar");
    assert_eq!(
        (&table[0]["code"], &table[0]["file"], &table[0]["line"]),
        (&json!("policy::parse"), &json!("bad.cedar"), &json!(2))
    );
    // A folder without policies denies everything, which nobody means.
    std::fs::create_dir(world.project().join("none")).unwrap();
    assert_eq!(
        world.json("policy check -p none | select severity code"),
        json!([{"severity": "error", "code": "policy::io"}])
    );
    world.fails("policy check -p none --strict").is("policy::io", "there is no policy", "`.cedar`");
    world.fails("policy check -p bad.cedar --strict").is("policy::parse", "(bad.cedar:2:1)", "when");
    let typo = "permit(principal, action, resource is Hetzner::Server) when { resource.server_typ == \"cx23\" };";
    let table = world.json(&format!("'{typo}' | policy check"));
    assert_eq!(table[0]["code"], json!("policy::validate"));
    assert!(table[0]["help"].as_str().unwrap().contains("server_type"), "{table}");
    assert_eq!(world.json(&format!("'{}' | policy check", typo.replace("server_typ ", "server_type "))), json!([]));
}

#[test]
fn the_schema_is_text_or_data() {
    let world = world();
    assert!(world.ok("policy schema").contains("namespace Provision"));
    assert_eq!(world.json("policy schema --json | columns | 'Provision' in $in"), json!(true));
    assert!(world.ok("policy").contains("policy authorize"));
}

#[test]
fn policies_are_listed_formatted_and_converted() {
    let world = World::with_plugins(&["nu_plugin_policy"]);
    world.write(
        "p/a.cedar",
        "@id(\"web\")\npermit(principal in Team::\"web\", action == Action::\"x\", resource is A::B);\nforbid(principal,action,resource);\n",
    );
    assert_eq!(
        world.json("policy list --policies p | select id effect principal action resource file line template"),
        json!([
            {"id": "web", "effect": "permit", "principal": "in Team::\"web\"", "action": "== Action::\"x\"", "resource": "is A::B", "file": "p/a.cedar", "line": 1, "template": false},
            {"id": "a.cedar:policy1", "effect": "forbid", "principal": null, "action": null, "resource": null, "file": "p/a.cedar", "line": 3, "template": false},
        ])
    );
    assert_eq!(
        world.json("open --raw p/a.cedar | from cedar | get staticPolicies | columns | sort"),
        json!(["policy1", "web"])
    );
    assert_eq!(
        world.json("let json = open --raw p/a.cedar | from cedar; ($json | to cedar | from cedar) == $json"),
        json!(true)
    );
    assert_eq!(
        world.ok("'permit(principal,action,resource);' | policy format"),
        "permit (principal, action, resource);"
    );
    world.fails("'permit(principal,' | policy format").is("policy::parse", "<input>:1:", "");
    world.fails("{effect: allow} | to cedar").is("policy::parse", "", "from cedar");
    assert_eq!(
        world.json(
            "'entity User;' | from cedarschema | to cedarschema | from cedarschema | get ''.entityTypes | columns"
        ),
        json!(["User"])
    );
}

const SCHEMA: &str = "entity Team; entity User in [Team] { level: Long }; entity Doc { owner: User, size: Long };\n\
    action view, edit appliesTo { principal: User, resource: Doc, context: { mfa: Bool } };\n";

const POLICIES: &str = "@id(\"owners\") permit(principal, action, resource)\nwhen { resource.owner == principal && context.mfa }\n\
    unless { resource.size > 10 };\n@id(\"web-views\") permit(principal in Team::\"web\", action == Action::\"view\", resource);\n\
    @id(\"low\") forbid(principal, action == Action::\"edit\", resource) when { principal.level < 3 };\n";

const ENTITIES: &str = r#"[
    {"uid": "User::\"ann\"", "attrs": {"level": 5}, "parents": ["Team::\"web\""]},
    {"uid": "User::\"bob\"", "attrs": {"level": 1}},
    {"uid": "Team::\"web\""},
    {"uid": "Doc::\"a\"", "attrs": {"owner": {"__entity": {"type": "User", "id": "bob"}}, "size": 3}},
    {"uid": "Doc::\"b\"", "attrs": {"owner": {"__entity": {"type": "User", "id": "ann"}}, "size": 30}}
]"#;

fn documents() -> World {
    let world = World::with_plugins(&["nu_plugin_policy"]);
    world.write("s.cedarschema", SCHEMA).write("p.cedar", POLICIES).write("e.json", ENTITIES);
    world
}

const FLAGS: &str = "-p p.cedar -e e.json --schema s.cedarschema";

#[test]
fn a_decision_is_explained_clause_by_clause_and_its_flip_flips() {
    let world = documents();
    let ask =
        "{ principal: 'User::\"bob\"', action: 'Action::\"view\"', resource: 'Doc::\"a\"', context: { mfa: false } }";
    let told = world.json(&format!("{ask} | policy explain {FLAGS}"));
    assert_eq!(told["decision"], json!("deny"));
    let owners = &told["policies"][0];
    assert_eq!(
        (&owners["policy"], &owners["in_scope"], &owners["satisfied"]),
        (&json!("owners"), &json!(true), &json!(false))
    );
    let clause = &owners["clauses"][0];
    assert_eq!((&clause["kind"], &clause["value"], &clause["line"]), (&json!("when"), &json!(false), &json!(2)));
    assert_eq!(clause["text"], json!("resource.owner == principal && context.mfa"));
    let part =
        |text: &str| clause["parts"].as_array().unwrap().iter().find(|part| part["text"] == text).unwrap().clone();
    assert_eq!(part("resource.owner == principal")["value"], json!(true));
    assert_eq!(part("resource.owner")["value"], json!("User::\"bob\""));
    assert_eq!(part("context.mfa")["value"], json!(false));
    assert_eq!((&owners["clauses"][1]["kind"], &owners["clauses"][1]["reached"]), (&json!("unless"), &json!(false)));
    let web = &told["policies"][1];
    assert_eq!(web["scope"], json!({"principal": false, "action": true, "resource": true}));
    assert_eq!(told["flip"]["changes"], json!([{"path": "context.mfa", "before": false, "after": true}]));
    assert_eq!(
        world.json(&format!(
            "{ask} | policy explain {FLAGS} | get flip.request | policy authorize -p p.cedar --schema s.cedarschema | get decision"
        )),
        json!("allow")
    );
    // What no attribute can change has no flip.
    let never = "{ principal: 'User::\"bob\"', action: 'Action::\"view\"', resource: 'Doc::\"a\"' }";
    assert_eq!(
        world.json(&format!(
            "{never} | policy explain -p 'permit(principal == User::\"ann\", action, resource);' | get flip"
        )),
        json!(null)
    );
}

#[test]
fn a_query_lists_who_what_and_on_which() {
    let world = documents();
    let rows = world.json(&format!(
        "policy query --action 'Action::\"view\"' --resource 'Doc::\"a\"' --context {{ mfa: true }} {FLAGS}"
    ));
    assert_eq!(
        rows,
        json!([
            {"principal": "User::\"ann\"", "action": "Action::\"view\"", "resource": "Doc::\"a\"", "decision": "allow", "policies": ["web-views"], "errors": []},
            {"principal": "User::\"bob\"", "action": "Action::\"view\"", "resource": "Doc::\"a\"", "decision": "allow", "policies": ["owners"], "errors": []},
        ])
    );
    let what = world.json(&format!("policy query --principal 'User::\"ann\"' --resource 'Doc::\"b\"' --context {{ mfa: true }} {FLAGS} | get action"));
    assert_eq!(what, json!(["Action::\"view\""]));
    let on = world.json(&format!("{{ principal: 'User::\"ann\"', action: 'Action::\"view\"', context: {{ mfa: true }} }} | policy query {FLAGS} | get resource"));
    assert_eq!(on, json!(["Doc::\"a\"", "Doc::\"b\""]));
    world.fails(&format!("policy query --principal 'User::\"ann\"' {FLAGS}")).is("policy::request", "exactly one", "");
    world.fails(&format!("policy query --principal 'User::\"ann\"' --action 'Action::\"vew\"' {FLAGS}")).is(
        "policy::request",
        "vew",
        "view",
    );
}

#[test]
fn cases_pass_or_say_what_is_wrong_and_coverage_counts_branches() {
    let world = documents();
    world.write(
        "tests.ncl",
        "let ask = fun who what on => { principal = \"User::\\\"%{who}\\\"\", action = \"Action::\\\"%{what}\\\"\", resource = \"Doc::\\\"%{on}\\\"\" } in\n\
        { entities = \"e.json\", context = { mfa = true }, cases = [\n\
        { name = \"own\", decision = \"allow\", policies = [\"owners\"] } & ask \"bob\" \"view\" \"a\",\n\
        { name = \"too low\", decision = \"deny\", policies = [\"low\"] } & ask \"bob\" \"edit\" \"a\",\n\
        { name = \"wrong\", decision = \"allow\" } & ask \"bob\" \"view\" \"b\",\n\
        { name = \"by another\", decision = \"allow\", policies = [\"owners\"] } & ask \"ann\" \"view\" \"a\",\n\
        ] }",
    );
    let run = "policy test tests.ncl -p p.cedar --schema s.cedarschema";
    let rows = world.json(&format!("{run} | select case status expected actual reasons message"));
    assert_eq!(
        rows[0],
        json!({"case": "own", "status": "passed", "expected": "allow", "actual": "allow", "reasons": ["owners"], "message": null})
    );
    assert_eq!(rows[1]["status"], json!("passed"));
    assert_eq!((&rows[2]["status"], &rows[2]["actual"]), (&json!("failed"), &json!("deny")));
    assert!(rows[2]["message"].as_str().unwrap().contains("no policy permits it"), "{rows}");
    assert!(rows[3]["message"].as_str().unwrap().contains("`owners`"), "{rows}");
    assert_eq!(world.ok(&format!("{run} | get 0.elapsed | describe")), "duration");
    world.fails(&format!("{run} --strict")).is("policy::test", "2 of 4 cases failed", "policy explain");
    let coverage = world.json(&format!("{run} --coverage | where policy == owners"));
    assert_eq!(
        (&coverage[0]["clause"], &coverage[0]["decided"], &coverage[0]["true"]),
        (&json!(null), &json!(1), &json!(2))
    );
    let row = |clause: &str| coverage.as_array().unwrap().iter().find(|row| row["clause"] == clause).unwrap().clone();
    let mfa = row("context.mfa");
    assert_eq!((&mfa["true"], &mfa["false"], &mfa["error"]), (&json!(2), &json!(0), &json!(0)));
    assert_eq!(row("resource.size > 10")["false"], json!(2));
    world.fails("[{ name: x }] | policy test -p p.cedar").is("policy::request", "case `x`", "decision");
}

#[test]
fn two_sets_are_compared_by_replay_and_by_proof() {
    let world = documents();
    world.write("new.cedar", &POLICIES.replace("&& context.mfa", ""));
    let rows = "[{ principal: 'User::\"bob\"', action: 'Action::\"view\"', resource: 'Doc::\"a\"', context: { mfa: false } } \
        { principal: 'User::\"ann\"', action: 'Action::\"view\"', resource: 'Doc::\"a\"', context: { mfa: false } }]";
    let changed = world.json(&format!("{rows} | policy diff p.cedar new.cedar -e e.json --schema s.cedarschema"));
    assert_eq!(changed.as_array().unwrap().len(), 1);
    assert_eq!((&changed[0]["before"], &changed[0]["after"]), (&json!("deny"), &json!("allow")));
    assert_eq!(
        changed[0]["policies"],
        json!([{"set": "after", "policy": "owners", "effect": "permit", "file": "new.cedar", "line": 1}])
    );
    let proved = world.json(
        "policy diff p.cedar new.cedar --all --schema s.cedarschema | select action before after | sort-by action",
    );
    assert_eq!(
        proved,
        json!([{"action": "Action::\"edit\"", "before": "deny", "after": "allow"}, {"action": "Action::\"view\"", "before": "deny", "after": "allow"}])
    );
    assert_eq!(world.json("policy diff p.cedar p.cedar --all --schema s.cedarschema"), json!([]));
    let analyzed = "policy analyze -p new.cedar --against p.cedar --schema s.cedarschema | get finding | uniq";
    assert_eq!(world.json(analyzed), json!(["more_permissive"]));
    world.write("more.cedar", &format!("{POLICIES}@id(\"twice\") permit(principal in Team::\"web\", action == Action::\"view\", resource is Doc);\n"));
    let found = world.json("policy analyze -p more.cedar --schema s.cedarschema");
    assert_eq!((&found[0]["finding"], &found[0]["policies"]), (&json!("redundant"), &json!(["twice", "web-views"])));
    let shown = world.json("policy analyze -p more.cedar --schema s.cedarschema | get 0.counterexample | policy authorize -p more.cedar | get reasons.policy | sort");
    assert_eq!(shown, json!(["twice", "web-views"]));
    let without = "$env.PATH = []; policy analyze -p more.cedar --schema s.cedarschema";
    world.fails(without).is("policy::solver", "cvc5", "apt install cvc5");
}

#[test]
fn templates_are_linked_and_the_links_are_policies() {
    let world = World::with_plugins(&["nu_plugin_policy"]);
    world.write(
        "t.cedar",
        "@id(\"viewer\")\npermit(principal == ?principal, action == Action::\"view\", resource in ?resource);\n",
    );
    let rows = "[[template id principal resource]; [viewer 'ann-photos' 'User::\"ann\"' 'Album::\"sea\"'] [viewer 'bob-photos' 'User::\"bob\"' 'Album::\"sea\"']]";
    let linked = world.json(&format!("{rows} | policy link -p t.cedar"));
    assert_eq!(
        (&linked[0]["id"], &linked[0]["template"], &linked[0]["line"]),
        (&json!("ann-photos"), &json!("viewer"), &json!(1))
    );
    let ask = "{ principal: 'User::\"ann\"', action: 'Action::\"view\"', resource: 'Album::\"sea\"' }";
    assert_eq!(
        world.json(&format!(
            "let links = {rows} | policy link -p t.cedar; {ask} | policy authorize -p $links | get reasons.policy"
        )),
        json!(["ann-photos"])
    );
    world.fails("[{ template: viewr, id: x }] | policy link -p t.cedar").is("policy::parse", "viewr", "viewer");
    world.fails("[{ template: viewer, id: x, principal: 'User::\"a\"' }] | policy link -p t.cedar").is(
        "policy::request",
        "needs a resource",
        "column",
    );
    // Cedar's own JSON form, with a template and a link to it.
    world.write(
        "set.json",
        r#"{"staticPolicies": {}, "templates": {"v": {"effect": "permit", "principal": {"op": "==", "slot": "?principal"}, "action": {"op": "All"}, "resource": {"op": "All"}, "conditions": []}},
          "templateLinks": [{"templateId": "v", "newId": "ann", "values": {"?principal": {"__entity": {"type": "User", "id": "ann"}}}}]}"#,
    );
    assert_eq!(world.json(&format!("{ask} | policy authorize -p set.json | get reasons.policy")), json!(["ann"]));
    assert!(world.ok("open set.json | to cedar").contains("principal == User::\"ann\""));
}

#[test]
fn any_table_is_authorized_with_closures_and_entities_of_its_rows() {
    let world = World::with_plugins(&["nu_plugin_policy"]);
    let script = "[[file owner]; [a.txt ann] [b.txt bob]] | policy authorize --policies 'permit(principal, action, resource) when { resource.owner == principal && context.size < 5 };' \
        --principal 'User::\"ann\"' --action 'Action::\"read\"' --resource {|row| { type: File, id: $row.file } } --context {|row| { size: ($row.file | str length | $in - 3) } } \
        --entities {|row| [{ uid: { type: File, id: $row.file }, attrs: { owner: { __entity: { type: User, id: $row.owner } } } }] }";
    assert_eq!(world.json(&format!("{script} | get decision")), json!(["allow", "deny"]));
    world
        .write("mixed.json", r#"[{"principal": "U::\"a\"", "action": "Action::\"b\"", "resource": "R::\"c\""}, null]"#);
    world.fails("open mixed.json | policy authorize --policies 'permit(principal, action, resource);'").is(
        "policy::request",
        "a row is a record",
        "`request`",
    );
    world.fails("[] | policy authorize --policies 'permit(principal, action, resource);' --only maybe").is(
        "policy::request",
        "maybe",
        "--only allow",
    );
}

#[test]
fn the_project_says_where_its_policies_are_and_many_rows_keep_their_order() {
    let world = World::with_plugins(&["nu_plugin_policy"]);
    world
        .write("infra.ncl", "{ name = \"x\", policies = \"rules/\" }")
        .write("rules/a.cedar", "permit(principal, action, resource) when { context.n < 5000 };");
    let script = "0..<20000 | each {|n| { n: $n, principal: { type: User, id: x }, action: 'Action::\"a\"', resource: 'Doc::\"b\"', context: { n: $n } } } \
        | policy authorize | each {|row| [$row.n $row.decision ($row.reasons.file | get -o 0)] }";
    let rows = world.json(script);
    for (at, row) in rows.as_array().unwrap().iter().enumerate() {
        let allowed = at < 5000;
        let expected = json!([at, if allowed { "allow" } else { "deny" }, allowed.then_some("rules/a.cedar")]);
        assert_eq!(*row, expected);
    }
    assert_eq!(rows.as_array().unwrap().len(), 20_000);
}

#[test]
fn the_starter_policies_are_valid_pass_their_tests_and_decide_some_case_each() {
    let world = World::with_plugins(&["nu_plugin_policy"]);
    let starter = workspace().join("extensions/policies/starter");
    for file in std::fs::read_dir(starter).unwrap().map(|entry| entry.unwrap().path()) {
        let name = format!("starter/{}", file.file_name().unwrap().to_str().unwrap());
        world.write(&name, &std::fs::read_to_string(&file).unwrap());
    }
    assert_eq!(world.json("policy check --policies starter"), json!([]));
    let run = "policy test starter/tests.ncl --policies starter --entities starter/entities.json";
    assert_eq!(world.json(&format!("{run} | where status != passed | select case message")), json!([]));
    let never = world.json(&format!("{run} --coverage | where clause == null and decided == 0 | get policy"));
    assert_eq!(never, json!([]), "policies that decide no case");
    let formatted = world.json(
        "ls starter/*.cedar | where {|file| (open --raw $file.name) != (open --raw $file.name | policy format) } | get name",
    );
    assert_eq!(formatted, json!([]), "these are not formatted");
}

#[test]
fn a_strict_gate_holds_whatever_follows_and_nothing_asked_is_said() {
    let world = documents();
    world
        .fails(&format!(
            "{QUESTIONS} | policy authorize --strict --policies 'forbid(principal, action, resource);' | length"
        ))
        .is("policy::denied", "", "");
    world.fails("policy diff p.cedar p.cedar").is("policy::request", "no question was asked", "--all");
    world.fails(&format!("policy query --principal 'User::\"ann\"' --resource 'Doc::\"a\"' {FLAGS}")).is(
        "policy::request",
        "no action takes this context",
        "--context",
    );
    let asked = format!(
        "{{ principal: 'User::\"ann\"', action: 'Action::\"vieww\"', resource: 'Doc::\"a\"' }} | policy authorize {FLAGS}"
    );
    world.fails(&asked).is("policy::request", "`Action::\"vieww\"`", "Action::\"view\"");
    world.fails(&asked.replace("User::", "Usr::").replace("vieww", "view")).is(
        "policy::request",
        "principal's type `Usr`",
        "`User`",
    );
    world.fails(&asked.replace("vieww", "view")).is("policy::request", "mfa", "--context");
    world.write(
        "deep.cedar",
        &format!("permit(principal, action, resource) when {{ {}true{} }};", "(".repeat(3000), ")".repeat(3000)),
    );
    world.fails("policy check -p deep.cedar --strict").is("policy::parse", "nested too deeply", "flatter");
    world.fails("0..110 | reduce -f 1 {|it, acc| { a: $acc }} | { principal: 'U::\"a\"', action: 'Action::\"b\"', resource: 'R::\"c\"', context: { deep: $in } } | policy authorize --policies 'permit(principal, action, resource);'")
        .is("policy::request", "nested deeper", "");
    world.fails("[{ name: x, principal: 'U::\"a\"', action: 'A::\"b\"', resource: 'R::\"c\"', decision: allow, polices: [] }] | policy test -p p.cedar").is("policy::request", "`polices`", "`policies`");
    world.fails("[] | policy test -p p.cedar --strict").is("policy::test", "no cases", "");
}

#[test]
fn values_of_nushell_and_opened_files_are_taken_as_they_are() {
    let world = documents();
    let when = "{ principal: 'U::\"a\"', action: 'Action::\"b\"', resource: 'R::\"c\"', context: { at: 2026-03-03T12:00:00+01:00, wait: 2hr, size: 3kB } } \
        | policy authorize --policies 'permit(principal, action, resource) when { context.at == datetime(\"2026-03-03T11:00:00Z\") && context.wait == duration(\"2h\") && context.size == 3000 };'";
    assert_eq!(world.json(&format!("{when} | get decision")), json!("allow"));
    assert_eq!(world.json("open p.cedar | policy list | get id"), json!(["owners", "web-views", "low"]));
    assert_eq!(world.json("open p.cedar | policy check --schema s.cedarschema"), json!([]));
    assert!(world.ok("open p.cedar | policy format").contains("@id(\"owners\")\npermit ("));
    world.write("t.cedar", "@id(\"t\") permit(principal == ?principal, action, resource);");
    let both = "let links = [[template id principal]; [t bob-all 'User::\"bob\"']] | policy link -p t.cedar; policy list --policies [p.cedar $links] | get id";
    assert_eq!(world.json(both), json!(["owners", "web-views", "low", "bob-all"]));
    // `>` is compiled as `!(<=)`: it is told once.
    let parts = "{ principal: 'U::\"a\"', action: 'Action::\"b\"', resource: 'R::\"c\"', context: { n: 5, who: { name: x } } } \
        | policy explain --policies 'permit(principal, action, resource) when { context.n > 3 && context.who.name == \"x\" };' | get policies.0.clauses.0.parts | select text value";
    assert_eq!(
        world.json(parts),
        json!([
            {"text": "context.n > 3", "value": true}, {"text": "context.n", "value": 5}, {"text": "context.who.name == \"x\"", "value": true},
            {"text": "context.who.name", "value": "x"}, {"text": "context.who", "value": {"name": "x"}},
        ])
    );
}

#[test]
fn a_forbid_that_cannot_be_evaluated_is_told_wherever_something_is_let_through() {
    let world = World::with_plugins(&["nu_plugin_policy"]);
    world.write(
        "p.cedar",
        "@id(\"all\") permit (principal, action, resource);\n@id(\"no-banned\") forbid (principal, action, resource) when { context.country in [\"aa\"] };\n",
    );
    let asked =
        "{ principal: 'User::\"ann\"', action: 'Action::\"view\"', resource: 'Doc::\"a\"', context: { country: aa } }";
    // As Cedar has it, and told.
    let told = world.json(&format!("{asked} | policy authorize -p p.cedar | select decision errors.policy"));
    assert_eq!(told, json!({"decision": "allow", "errors.policy": ["no-banned"]}));
    // A gate does not fail open, whatever is done with the row.
    for script in [
        format!("{asked} | policy authorize --strict -p p.cedar"),
        format!("[{asked}] | policy authorize --strict --only allow -p p.cedar | length"),
    ] {
        world.fails(&script).is("policy::evaluate", "`no-banned` cannot be evaluated", "has");
    }
    let query = "policy query --action 'Action::\"view\"' --resource 'Doc::\"a\"' --context { country: aa } --entities [{ uid: 'User::\"ann\"' }] -p p.cedar";
    assert_eq!(
        world.json(&format!("{query} | select principal policies errors.policy")),
        json!([{"principal": "User::\"ann\"", "policies": ["all"], "errors.policy": ["no-banned"]}])
    );
    let schema = "'entity User; entity Doc; action view appliesTo { principal: User, resource: Doc, context: { country: String } };'";
    assert_eq!(
        world.json(&format!("policy check -p p.cedar --schema {schema} | get code | uniq")),
        json!(["policy::validate"])
    );
    // A permit that fails lets nothing through that it should not.
    world.write("p.cedar", "@id(\"all\") permit (principal, action, resource);\n@id(\"more\") permit (principal, action, resource) when { context.none };\n");
    assert_eq!(world.json(&format!("{asked} | policy authorize --strict -p p.cedar | get decision")), json!("allow"));
}

#[test]
fn nothing_is_decided_by_which_of_two_comes_first() {
    let world = World::with_plugins(&["nu_plugin_policy"]);
    let asked = |entities: &str| {
        format!(
            "{{ principal: 'User::\"ann\"', action: 'Action::\"view\"', resource: 'Doc::\"a\"' }} | policy authorize --entities {entities} --policies 'permit (principal, action, resource) when {{ principal.admin }};'"
        )
    };
    let files = [
        (
            "attribute.json",
            r#"[{"uid": "User::\"ann\"", "attrs": {"admin": false, "admin": true}}]"#,
            "`admin` is there twice",
        ),
        (
            "uid.json",
            r#"[{"uid": "User::\"ann\"", "attrs": {"admin": false}}, {"uid": "User::\"ann\"", "attrs": {"admin": true}}]"#,
            "twice",
        ),
        (
            "spelled.json",
            r#"[{"uid": "User::\"ann\"", "attrs": {"admin": false}}, {"uid": {"__entity": {"type": "User", "id": "ann"}}, "attrs": {"admin": true}}]"#,
            "twice, and the two differ",
        ),
        (
            "ring.json",
            r#"[{"uid": "User::\"ann\"", "attrs": {"admin": true}, "parents": ["Team::\"a\""]}, {"uid": "Team::\"a\"", "parents": ["User::\"ann\""]}]"#,
            "",
        ),
    ];
    for (file, text, why) in files {
        world.write(file, text);
        world.fails(&asked(file)).is("policy::entity", why, "");
    }
    let table = "[[uid attrs]; ['User::\"ann\"' { admin: false }] ['User::\"ann\"' { admin: true }]]";
    world.fails(&asked(table)).is("policy::entity", "twice, and the two differ", "one row");
    // The same twice is the same.
    let table = "[[uid attrs]; ['User::\"ann\"' { admin: true }] ['User::\"ann\"' { admin: true }]]";
    assert_eq!(world.json(&format!("{} | get decision", asked(table))), json!("allow"));
    // Policies likewise, in text and in JSON.
    let policy = r#"{"effect": "permit", "principal": {"op": "All"}, "action": {"op": "All"}, "resource": {"op": "All"}, "conditions": []}"#;
    world.write(
        "two.json",
        &format!("{{\"staticPolicies\": {{\"a\": {policy}, \"a\": {}}}}}", policy.replace("permit", "forbid")),
    );
    world.write("two.cedar", "@id(\"same\") permit (principal, action, resource);\n@id(\"same\") forbid (principal, action, resource) when { principal.admin };\n");
    for file in ["two.json", "two.cedar"] {
        let schema = "'entity User { admin: Bool }; action view appliesTo { principal: User, resource: User };'";
        assert_eq!(
            world.json(&format!("policy check --policies {file} --schema {schema} | get code | uniq")),
            json!(["policy::parse"]),
            "{file}"
        );
    }
}

#[test]
fn an_environment_brings_its_own_policies() {
    let world = World::new();
    world.write("infra.ncl", "{ name = \"s\", resources = {}, policies = \"usual\", environments = { prod = { policies = \"strict\" }, dev = {} } }");
    world.write("usual/a.cedar", "permit(principal, action, resource);\n");
    world.write("strict/a.cedar", "forbid(principal, action, resource);\n");
    for (environment, files) in
        [("''", json!(["usual/a.cedar"])), ("dev", json!(["usual/a.cedar"])), ("prod", json!(["strict/a.cedar"]))]
    {
        let script = format!("with-env {{ PROVISION_ENVIRONMENT: {environment} }} {{ policy list | get file | uniq }}");
        assert_eq!(world.json(&script), files, "{environment}");
    }
    for unknown in ["nope", "'pr\"od'"] {
        world.fails(&format!("with-env {{ PROVISION_ENVIRONMENT: {unknown} }} {{ policy list }}")).is(
            "provision::config::environment",
            "there is no environment",
            "infra.ncl",
        );
    }
}
