//! Owns what UpCloud offers and nobody makes: account, zones, plans, prices, templates; and the kinds that stay empty.

use super::{Answer, Cx, no_such_method};
use crate::call::Reply;
use serde_json::{Map, Value, json};

const ZONES: &[(&str, &str)] = &[
    ("au-syd1", "Sydney #1"),
    ("de-fra1", "Frankfurt #1"),
    ("dk-cph1", "Copenhagen #1"),
    ("es-mad1", "Madrid #1"),
    ("fi-hel1", "Helsinki #1"),
    ("fi-hel2", "Helsinki #2"),
    ("nl-ams1", "Amsterdam #1"),
    ("no-svg1", "Stavanger #1"),
    ("pl-waw1", "Warsaw #1"),
    ("se-sto1", "Stockholm #1"),
    ("sg-sin1", "Singapore #1"),
    ("uk-lon1", "London #1"),
    ("us-chi1", "Chicago #1"),
    ("us-nyc1", "New York #1"),
    ("us-sjo1", "San Jose #1"),
];

/// Name, cores, memory in MiB, storage in GB.
const PLANS: &[(&str, u64, u64, u64)] = &[
    ("DEV-1xCPU-1GB-10GB", 1, 1024, 10),
    ("DEV-1xCPU-1GB", 1, 1024, 20),
    ("DEV-1xCPU-2GB", 1, 2048, 30),
    ("1xCPU-1GB", 1, 1024, 25),
    ("1xCPU-2GB", 1, 2048, 50),
    ("2xCPU-4GB", 2, 4096, 80),
    ("4xCPU-8GB", 4, 8192, 160),
    ("6xCPU-16GB", 6, 16384, 320),
    ("8xCPU-32GB", 8, 32768, 640),
    ("12xCPU-48GB", 12, 49152, 960),
    ("16xCPU-64GB", 16, 65536, 1280),
    ("20xCPU-96GB", 20, 98304, 1920),
    ("HICPU-8xCPU-12GB", 8, 12288, 100),
    ("HIMEM-2xCPU-8GB", 2, 8192, 100),
];

/// Uuid, title, size in GB, whether it needs cloud-init.
const TEMPLATES: &[(&str, &str, u64, bool)] = &[
    ("01000000-0000-4000-8000-000020060100", "Debian GNU/Linux 11 (Bullseye)", 3, true),
    ("01000000-0000-4000-8000-000020070100", "Debian GNU/Linux 12 (Bookworm)", 3, true),
    ("01000000-0000-4000-8000-000020080100", "Debian GNU/Linux 13 (Trixie)", 3, true),
    ("01000000-0000-4000-8000-000030220200", "Ubuntu Server 22.04 LTS (Jammy Jellyfish)", 4, true),
    ("01000000-0000-4000-8000-000030240200", "Ubuntu Server 24.04 LTS (Noble Numbat)", 4, true),
    ("01000000-0000-4000-8000-000140020100", "AlmaLinux 9", 3, true),
    ("01000000-0000-4000-8000-000150020100", "Rocky Linux 9", 3, true),
    ("01000000-0000-4000-8000-000020050100", "Debian GNU/Linux 10 (Buster)", 3, false),
];

/// Whether there is such a zone.
pub fn is_zone(id: &str) -> bool {
    ZONES.iter().any(|(zone, _)| *zone == id)
}

/// Every zone's id.
pub fn zones() -> impl Iterator<Item = &'static str> {
    ZONES.iter().map(|(id, _)| *id)
}

/// The plan of that name.
pub fn plan(name: &str) -> Option<Value> {
    PLANS.iter().find(|(known, ..)| *known == name).map(|(name, cores, memory, storage)| {
        json!({"core_number": cores, "memory_amount": memory, "name": name, "public_traffic_out": 0, "storage_size": storage,
            "storage_tier": if name.starts_with("DEV") { "standard" } else { "maxiops" }})
    })
}

/// The public templates, as storages.
pub fn templates() -> Vec<Value> {
    TEMPLATES
        .iter()
        .map(|(uuid, title, size, cloud_init)| {
            json!({"access": "public", "encrypted": "no", "labels": [], "license": 0, "size": size, "state": "online",
                "template_type": if *cloud_init { "cloud-init" } else { "native" }, "title": title, "type": "template",
                "uuid": uuid, "tier": "maxiops", "zone": ""})
        })
        .collect()
}

fn wrap(plural: &str, single: &str, all: Vec<Value>) -> Value {
    let mut inner = Map::new();
    inner.insert(single.to_owned(), Value::Array(all));
    let mut outer = Map::new();
    outer.insert(plural.to_owned(), Value::Object(inner));
    Value::Object(outer)
}

/// Answers the lists of what is offered.
pub fn answer(cx: &Cx<'_>, path: &[&str]) -> Answer {
    if cx.call.method != "GET" {
        return Err(no_such_method());
    }
    let body = match path {
        ["account"] => json!({"account": {"credits": "100000.00", "username": cx.username, "resource_limits": {
            "cores": 1000, "detached_floating_ips": 10, "memory": 2_048_000, "networks": 1000, "public_ipv4": 1000,
            "public_ipv6": 1000, "storage_hdd": 100_000, "storage_maxiops": 100_000, "storage_ssd": 100_000}}}),
        ["zone"] => wrap(
            "zones",
            "zone",
            ZONES.iter().map(|(id, text)| json!({"description": text, "id": id, "public": "yes"})).collect(),
        ),
        ["plan"] => wrap("plans", "plan", PLANS.iter().filter_map(|(name, ..)| plan(name)).collect()),
        ["timezone"] => {
            let names =
                ["UTC", "Europe/Berlin", "Europe/Helsinki", "Europe/London", "America/New_York", "Asia/Singapore"];
            wrap("timezones", "timezone", names.iter().map(|name| json!(name)).collect())
        }
        ["server_size"] => {
            let sizes = PLANS.iter().map(
                |(_, cores, memory, _)| json!({"core_number": cores.to_string(), "memory_amount": memory.to_string()}),
            );
            wrap("server_sizes", "server_size", sizes.collect())
        }
        ["price"] => wrap("prices", "zone", ZONES.iter().map(|(id, _)| prices(id)).collect()),
        ["host"] => wrap("hosts", "host", Vec::new()),
        _ => return Err(no_such_method()),
    };
    Ok(Reply::json(200, &body))
}

fn prices(zone: &str) -> Value {
    let mut all = json!({"name": zone, "firewall": {"amount": 1, "price": 0.0}, "ipv4_address": {"amount": 1, "price": 0.45},
        "ipv6_address": {"amount": 1, "price": 0.0}, "server_core": {"amount": 1, "price": 1.3},
        "server_memory": {"amount": 256, "price": 0.23}, "storage_maxiops": {"amount": 1, "price": 0.031}});
    for (name, cores, memory, _) in PLANS {
        let price = f64::from(u32::try_from(cores * 1024 + memory).unwrap_or(u32::MAX)) / 2048.0;
        all[format!("server_plan_{name}")] = json!({"amount": 1, "price": price});
    }
    all
}
