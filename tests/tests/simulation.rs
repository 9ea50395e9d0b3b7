//! Owns the promise that nothing is lost and nothing duplicated, tried in simulated worlds: every instant a process can die
//! at, for every type; and thousands of lives with faults, deaths and meddling, each told by its seed.
//!
//! `SIMULATIONS=10000` runs more, `SIMULATION=42` runs one and shows what it asked of the clouds.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use provision_tests::contract::{Example, examples};
use provision_tests::simulated::{Broken, Death, LATEST, Simulated};
use provision_tests::{Faults, table_in};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Applies until it is through, as somebody would who runs the command again.
fn through(world: &Simulated, config: &Value, seed: u64) -> Result<(), String> {
    let mut last = Ok(());
    for again in 0..4 {
        last = world.apply(config, seed + again, None).1;
        if last.is_ok() {
            break;
        }
    }
    last
}

/// How late a request arrives whose process is dead: before the cloud would show it anyway, and at the last moment.
const LATE: [u64; 2] = [9_000, LATEST];

/// Dies at every instant of an apply, each in a world of its own, and finishes the job; gives how many instants there are.
fn dead_at_any_instant(what: &str, before: &Value, after: &Value) -> usize {
    // How many commits and calls it takes when nothing goes wrong.
    let world = Simulated::new();
    through(&world, before, 1).unwrap_or_else(|error| panic!("{what}: {error}"));
    let (whole, done) = world.apply(after, 1, None);
    done.unwrap_or_else(|error| panic!("{what}: {error}"));
    world.check(after).unwrap_or_else(|error| panic!("{what}: {error}"));
    let commits =
        (1..=whole.commits).flat_map(|at| [Death::BeforeCommit(at), Death::AfterCommit(at), Death::FullAt(at)]);
    let calls =
        (1..=whole.calls).flat_map(|at| [Death::BeforeCall(at), Death::AfterCall(at), Death::PanicAfterCall(at)]);
    let late = whole.changing.iter().flat_map(|at| LATE.map(|by| Death::LateCall(*at, by)));
    let mut count = 0;
    for death in commits.chain(calls).chain(late) {
        let world = Simulated::new();
        through(&world, before, 1).unwrap();
        let (lived, _) = world.apply(after, 1, Some(death));
        assert!(lived.died, "{what}, {death:?}: it lived on");
        // One plain apply, not several.
        let (_, done) = world.apply(after, 2, None);
        done.unwrap_or_else(|error| panic!("{what}, {death:?}: {error}"));
        world.check(after).unwrap_or_else(|error| panic!("{what}, {death:?}: {error}"));
        count += usize::from(!matches!(death, Death::PanicAfterCall(_)));
    }
    count
}

/// A row of the table, and how many instants it counts.
fn deaths(example: &Example) -> (String, usize) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (way, before, after) in example.ways() {
        let count = dead_at_any_instant(&format!("{way} of {}", example.kind), &before, &after);
        *counts.entry(way).or_default() += count;
    }
    let cell = |way: &str| counts.get(way).map_or_else(|| "-".to_owned(), ToString::to_string);
    let cells = ["create", "update", "replace", "delete"].map(cell).join(" | ");
    (format!("| `{}` | {cells} |\n", example.kind), counts.values().sum())
}

#[test]
fn dead_at_any_instant_of_any_operation_of_any_type_a_plain_apply_finishes_the_job() {
    let rows = of_every_type(deaths);
    let instants: usize = rows.iter().map(|(_, count)| count).sum();
    println!("{instants} instants");
    assert!(instants > 1000, "{instants}");
    let lines: String = rows.into_iter().map(|(line, _)| line).collect();
    let table = format!("| type | create | update | replace | delete |\n|---|---|---|---|---|\n{lines}");
    table_in("docs/crash.md", &table);
}

/// Stops operations at every wait and every call, those that settle what a death left too; how many there were.
fn stopped_at_any_wait(what: &str, before: &Value, after: &Value) -> usize {
    let mut count = 0;
    let begun = || {
        let world = Simulated::new();
        through(&world, before, 1).unwrap_or_else(|error| panic!("{what}: {error}"));
        world
    };
    let (whole, done) = begun().apply(after, 1, None);
    done.unwrap_or_else(|error| panic!("{what}: {error}"));
    let waits = (1..=whole.waits).flat_map(|at| [Death::StopAt(at), Death::ParkAt(at)]);
    let calls = whole.changing.iter().flat_map(|at| LATE.map(|by| Death::ParkCall(*at, by)));
    let alone = waits.chain(calls).map(|stop| vec![stop]);
    // Killed, and then stopped while it is found out what became of that.
    let deaths = whole.changing.iter().flat_map(|at| [Death::LateCall(*at, LATE[1]), Death::BeforeCall(*at)]);
    let settling = deaths
        .flat_map(|death| [Death::StopAt(1), Death::StopAt(2), Death::ParkAt(3)].map(|stop| vec![death, stop, stop]));
    for lives in alone.chain(settling) {
        let world = begun();
        for (seed, life) in (1..).zip(&lives) {
            let _ = world.apply(after, seed, Some(*life));
        }
        let (_, done) = world.apply(after, 9, None);
        done.unwrap_or_else(|error| panic!("{what}, {lives:?}: {error}"));
        world.check(after).unwrap_or_else(|error| panic!("{what}, {lives:?}: {error}"));
        count += 1;
    }
    count
}

fn stops(example: &Example) -> usize {
    let one = |(way, before, after): (&str, Value, Value)| {
        stopped_at_any_wait(&format!("{way} of {}", example.kind), &before, &after)
    };
    example.ways().into_iter().map(one).sum()
}

/// What `one` makes of every example, in their order. Each type is a world of its own: as many at a time as there are cores.
fn of_every_type<T: Send>(one: impl Fn(&Example) -> T + Sync) -> Vec<T> {
    let all = examples();
    let next = AtomicUsize::new(0);
    let work = || -> Vec<(usize, T)> {
        let one = || {
            let at = next.fetch_add(1, Ordering::Relaxed);
            all.get(at).map(|example| (at, one(example)))
        };
        std::iter::from_fn(one).collect()
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut made: Vec<(usize, T)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    made.sort_by_key(|(at, _)| *at);
    made.into_iter().map(|(_, made)| made).collect()
}

#[test]
fn stopped_at_any_wait_of_any_operation_of_any_type_a_plain_apply_finishes_the_job() {
    let count: usize = of_every_type(stops).into_iter().sum();
    println!("{count} stops");
    assert!(count > 1000, "{count}");
}

/// Puts a state back to before something of a type was made; why it has to be taken in by hand, where it has.
fn put_back(example: &Example) -> Option<String> {
    let (kind, (_, before, after)) = (&example.kind, example.ways().remove(0));
    let mut world = Simulated::new();
    let apply = |world: &Simulated, config: &Value, seed: u64| {
        through(world, config, seed).unwrap_or_else(|error| panic!("{kind}: {error}"));
    };
    apply(&world, &before, 1);
    world.put_back(|world| apply(world, &after, 2));
    let held = world.held();
    let done = through(&world, &after, 7);
    assert_eq!(world.held(), held, "{kind}: something was made twice");
    if done.is_ok() {
        world.check(&after).unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
    done.err().map(|error| format!("{kind}: {error}"))
}

#[test]
fn a_state_from_before_something_of_any_type_was_made_makes_nothing_twice() {
    let by_hand: Vec<String> = of_every_type(put_back).into_iter().flatten().collect();
    // Nothing tells which of a server's addresses it was made with and which one was added.
    assert_eq!(by_hand.len(), 1, "{by_hand:#?}");
    assert!(
        by_hand[0].starts_with("upcloud.ip_address: ") && by_hand[0].contains("may be what it lost"),
        "{by_hand:?}"
    );
}

/// Servers that hold what is a resource of its own, which their deletion would take along.
#[test]
fn dead_or_stopped_at_any_instant_of_a_deletion_what_is_spared_stays() {
    let of = |address: &str| json!({"$ref": {"address": address, "attribute": "id"}});
    let address = json!({"$type": "hetzner.primary_ip", "type": "ipv4", "location": "hel1", "auto_delete": true});
    let server = json!({"$type": "hetzner.server", "server_type": "cx23", "image": "debian-12", "location": "hel1",
        "public_net": {"ipv4": of("own")}});
    let disk = json!({"$type": "upcloud.storage", "zone": "fi-hel1", "size": 10});
    let root =
        json!({"action": "clone", "storage": "01000000-0000-4000-8000-000020070100", "title": "root", "size": 20});
    let other = json!({"$type": "upcloud.server", "zone": "fi-hel1", "plan": "1xCPU-2GB",
        "storage_devices": [root, {"action": "attach", "storage": of("own")}]});
    for (what, own, holder) in [("address", address, server), ("disk", disk, other)] {
        let before = json!({"name": "s", "resources": {"own": own, "holder": holder}});
        let after = json!({"name": "s", "resources": {"own": own}});
        assert!(dead_at_any_instant(what, &before, &after) > 20);
        assert!(stopped_at_any_wait(what, &before, &after) > 10);
    }
}

#[test]
fn a_disk_that_is_full_at_the_end_hides_no_failure_of_an_operation() {
    let config = json!({"name": "s", "resources": {"net": {"$type": "hetzner.network", "ip_range": "10.0.0.0/16"}}});
    let refusing = || {
        let world = Simulated::new();
        let refused =
            json!({"fail_next": [{"path_contains": "networks", "method": "POST", "kind": "error", "times": 50}]});
        world.faults(serde_json::from_value(refused).unwrap());
        world
    };
    let (whole, done) = refusing().apply(&config, 1, None);
    let told = done.unwrap_err();
    assert!(told.contains("create of `net` failed"), "{told}");
    // The last commits are those of the record: the end of the change, its signature, the lease.
    for at in whole.commits - 2..=whole.commits {
        let (_, done) = refusing().apply(&config, 1, Some(Death::FullAt(at)));
        let told = done.unwrap_err();
        assert!(told.contains("create of `net` failed"), "full at {at}: {told}");
    }
}

/// Two security groups that refer to each other, and one that refers to itself.
fn peers() -> Map<String, Value> {
    let of = |address: &str| json!({"$ref": {"address": address, "attribute": "id"}});
    let group = |from: &str| {
        let rule = json!({"ip_protocol": "tcp", "from_port": 1, "to_port": 2, "source_groups": [of(from)]});
        json!({"$type": "aws.security_group", "vpc_id": of("peers"), "ingress": [rule], "egress": []})
    };
    let vpc = json!({"$type": "aws.vpc", "cidr_block": "10.7.0.0/16"});
    let all = [("peers", vpc), ("front", group("back")), ("back", group("front")), ("own", group("own"))];
    all.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

#[test]
fn dead_at_any_instant_of_what_refers_to_each_other_a_plain_apply_finishes_the_job() {
    let nothing = json!({"name": "s", "resources": {}});
    let all = json!({"name": "s", "resources": peers()});
    let mut apart = all.clone();
    apart["resources"].as_object_mut().unwrap().remove("back");
    apart["resources"]["front"]["ingress"] = json!([]);
    for (way, before, after) in [("create", &nothing, &all), ("part", &all, &apart), ("delete", &all, &nothing)] {
        assert!(dead_at_any_instant(&format!("{way} of peers"), before, after) > 20);
    }
}

/// A configuration made of some of the examples, each in one of its forms.
fn some(dice: &mut StdRng) -> Value {
    let mut resources = Map::new();
    let all = examples();
    for _ in 0..dice.random_range(0..5) {
        let example = all.choose(dice).unwrap();
        let fields = match dice.random_range(0..3) {
            0 => None,
            // Disks and the ranges of networks do not shrink: the way back would rightly be refused.
            1 if ["hetzner.network", "hetzner.server", "hetzner.volume", "upcloud.storage", "aws.volume"]
                .contains(&example.kind.as_str()) =>
            {
                None
            }
            1 => example.changed.as_ref(),
            _ => example.replaced.as_ref(),
        };
        for (address, value) in &example.needs {
            resources.insert(address.clone(), value.clone());
        }
        let mut resource = example.resource(fields);
        // Two of a name, of a range, or of what it is tied to, are not allowed where one of these is there already.
        let tied = [
            "aws.key_pair",
            "aws.subnet",
            "aws.security_group",
            "aws.security_group_rule",
            "aws.route",
            "aws.route_table_association",
            "aws.volume_attachment",
            "aws.elastic_ip_association",
            "upcloud.tag",
        ];
        let named = tied.contains(&example.kind.as_str()) || example.kind.starts_with("hetzner.");
        if dice.random_bool(0.2) && !named {
            resource["lifecycle"] = json!({"create_before_destroy": true});
        }
        let address = example.kind.replace(['.', '_'], "-");
        resources.insert(address, resource);
    }
    if dice.random_bool(0.2) {
        resources.extend(peers());
    }
    json!({"name": "s", "resources": resources})
}

fn bad_days(dice: &mut StdRng) -> Faults {
    let rate = |dice: &mut StdRng, most: f64| if dice.random_bool(0.5) { dice.random_range(0.0..most) } else { 0.0 };
    Faults {
        error_rate: rate(dice, 0.1),
        throttle_rate: rate(dice, 0.1),
        reset_before_rate: rate(dice, 0.1),
        reset_after_commit_rate: rate(dice, 0.4),
        stale_reads_ms: if dice.random_bool(0.3) { 700 } else { 0 },
        seed: Some(dice.random()),
        ..Faults::default()
    }
}

/// Somebody takes something away, or changes it.
fn meddle(world: &Simulated, dice: &mut StdRng) {
    let held = world.held();
    let Some((scope, kind, id)) = held.choose(dice) else { return };
    let _ = match (scope.split('/').next().unwrap_or_default(), kind.as_str()) {
        ("hetzner", "ssh_key") => world.meddle("DELETE", &format!("/v1/ssh_keys/{id}"), &json!({})),
        ("hetzner", "server") => world.meddle("PUT", &format!("/v1/servers/{id}"), &json!({"name": "meddled"})),
        ("upcloud", "storage") => world.meddle("DELETE", &format!("/1.3/storage/{id}"), &json!({})),
        _ => None,
    };
}

/// One world's story. `Err` says what did not hold.
fn story(seed: u64, broken: Option<Broken>, parallel: usize) -> Result<(), String> {
    let mut world = Simulated::new();
    world.broken = broken;
    world.parallel = parallel;
    tell(&mut world, seed)
}

fn tell(world: &mut Simulated, seed: u64) -> Result<(), String> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut config = json!({"name": "s", "resources": {}});
    for _ in 0..dice.random_range(1..4) {
        config = some(&mut dice);
        world.faults(bad_days(&mut dice));
        world.late = if dice.random_bool(0.3) { dice.random_range(0.0..0.2) } else { 0.0 };
        for _ in 0..dice.random_range(1..4) {
            let at = dice.random_range(1..60);
            let late = dice.random_range(0..LATEST);
            let death = match dice.random_range(0..11) {
                0 => Some(Death::BeforeCommit(at)),
                1 => Some(Death::AfterCommit(at)),
                2 => Some(Death::BeforeCall(at)),
                3 => Some(Death::AfterCall(at)),
                4 => Some(Death::LateCall(at, late)),
                5 => Some(Death::StopAt(at)),
                6 => Some(Death::ParkAt(at)),
                7 => Some(Death::ParkCall(at, late)),
                _ => None,
            };
            let _ = world.apply(&config, dice.random(), death);
        }
        if dice.random_bool(0.3) {
            meddle(world, &mut dice);
        }
    }
    world.faults(Faults::default());
    world.late = 0.0;
    through(world, &config, dice.random())?;
    world.check(&config)
}

/// Runs many stories on all cores; the seeds that failed, with what did not hold.
fn stories(seeds: Range<u64>, broken: Option<Broken>, parallel: usize, most: usize) -> Vec<(u64, String)> {
    let next = AtomicU64::new(seeds.start);
    let found = std::sync::Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || found.lock().unwrap().len() >= most {
                        return;
                    }
                    if let Err(error) = story(seed, broken, parallel) {
                        found.lock().unwrap().push((seed, error));
                    }
                }
            });
        }
    });
    found.into_inner().unwrap()
}

#[test]
fn stories_of_faults_and_deaths_end_well() {
    if let Ok(seed) = std::env::var("SIMULATION") {
        return story(seed.parse().unwrap(), None, 1).unwrap();
    }
    let count = std::env::var("SIMULATIONS").map_or(1_000, |count| count.parse().unwrap());
    let failed = stories(0..count, None, 1, 5);
    assert!(failed.is_empty(), "SIMULATION=seed runs one alone: {failed:#?}");
}

/// Which of several operations is first is the machine's to decide, so the seed alone does not tell such a story again; that
/// it ends well must not hang on it.
#[test]
fn stories_of_many_operations_at_once_end_well() {
    if let Ok(seed) = std::env::var("SIMULATION") {
        return story(seed.parse().unwrap(), None, 6).unwrap();
    }
    let count = std::env::var("SIMULATIONS").map_or(300, |count| count.parse().unwrap());
    let failed = stories(1_000_000..1_000_000 + count, None, 6, 5);
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The promises that all of this stands on: where one is broken, some story ends badly, so the stories would notice an engine
/// that breaks it.
#[test]
fn a_world_that_breaks_a_promise_is_noticed() {
    for broken in [
        Broken::LyingDisk,
        Broken::LostJournal,
        Broken::Resending,
        Broken::Swallowing,
        Broken::Hiding,
        Broken::Hurrying,
        Broken::Lingering,
    ] {
        let failed = stories(0..2000, Some(broken), 1, 1);
        assert!(!failed.is_empty(), "{broken:?} went unnoticed in 2000 stories");
    }
}

#[test]
fn a_story_is_its_seed_and_is_told_again_to_the_byte() {
    for seed in 0..40 {
        let told = || {
            let mut world = Simulated::new();
            tell(&mut world, seed).unwrap();
            world.told()
        };
        let (first, second) = (told(), told());
        let apart = first.iter().zip(&second).find(|(one, other)| one != other);
        assert!(apart.is_none(), "story {seed} goes apart:\n{}", apart.map(apart_at).unwrap_or_default());
        assert_eq!(first.len(), second.len(), "story {seed}");
    }
}

/// Two texts from a little before the place where they go apart.
fn apart_at((one, other): (&String, &String)) -> String {
    let same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let shown = |text: &String| {
        String::from_utf8_lossy(&text.as_bytes()[same.saturating_sub(80)..]).chars().take(200).collect()
    };
    let shown: [String; 2] = [shown(one), shown(other)];
    format!("{}\n{}\n{}", one.chars().take(120).collect::<String>(), shown[0], shown[1])
}
