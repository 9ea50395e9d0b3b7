//! Owns what Hetzner offers and nobody makes: locations, server types, images, prices; and the kinds that stay empty.

use super::{Answer, Cx, no_such_method, not_found, pages};
use crate::call::Reply;
use serde_json::{Map, Value, json};

/// Name, id, country, city, network zone, latitude, longitude.
type Location = (&'static str, u64, &'static str, &'static str, &'static str, f64, f64);

const LOCATIONS: &[Location] = &[
    ("fsn1", 1, "DE", "Falkenstein", "eu-central", 50.47612, 12.370071),
    ("nbg1", 2, "DE", "Nuremberg", "eu-central", 49.452102, 11.076665),
    ("hel1", 3, "FI", "Helsinki", "eu-central", 60.169855, 24.938379),
    ("ash", 4, "US", "Ashburn, VA", "us-east", 39.045821, -77.487073),
    ("hil", 5, "US", "Hillsboro, OR", "us-west", 45.54222, -122.951924),
    ("sin", 6, "SG", "Singapore", "ap-southeast", 1.283333, 103.833333),
];

/// Name, id, cores, memory in GB, disk in GB, architecture, kind of CPU, monthly price.
type ServerType = (&'static str, u64, u64, f64, u64, &'static str, &'static str, &'static str);

const SERVER_TYPES: &[ServerType] = &[
    ("cx23", 114, 2, 4.0, 40, "x86", "shared", "2.99"),
    ("cx33", 115, 4, 8.0, 80, "x86", "shared", "4.99"),
    ("cx43", 116, 8, 16.0, 160, "x86", "shared", "8.99"),
    ("cx53", 117, 16, 32.0, 320, "x86", "shared", "16.99"),
    ("cpx12", 108, 1, 2.0, 40, "x86", "shared", "5.49"),
    ("cpx22", 109, 2, 4.0, 80, "x86", "shared", "5.99"),
    ("cpx32", 110, 4, 8.0, 160, "x86", "shared", "10.49"),
    ("cpx42", 111, 8, 16.0, 320, "x86", "shared", "18.99"),
    ("cpx52", 112, 12, 24.0, 480, "x86", "shared", "26.99"),
    ("cpx62", 113, 16, 32.0, 640, "x86", "shared", "36.99"),
    ("cpx11", 22, 2, 2.0, 40, "x86", "shared", "3.85"),
    ("cpx21", 23, 3, 4.0, 80, "x86", "shared", "6.80"),
    ("cpx31", 24, 4, 8.0, 160, "x86", "shared", "12.60"),
    ("cpx41", 25, 8, 16.0, 240, "x86", "shared", "23.30"),
    ("cpx51", 26, 16, 32.0, 360, "x86", "shared", "50.70"),
    ("cax11", 45, 2, 4.0, 40, "arm", "shared", "3.29"),
    ("cax21", 93, 4, 8.0, 80, "arm", "shared", "5.99"),
    ("cax31", 94, 8, 16.0, 160, "arm", "shared", "11.99"),
    ("cax41", 95, 16, 32.0, 320, "arm", "shared", "23.99"),
    ("ccx13", 96, 2, 8.0, 80, "x86", "dedicated", "11.99"),
    ("ccx23", 97, 4, 16.0, 160, "x86", "dedicated", "23.99"),
    ("ccx33", 98, 8, 32.0, 240, "x86", "dedicated", "47.99"),
    ("ccx43", 99, 16, 64.0, 360, "x86", "dedicated", "95.99"),
];

/// Name, id for x86, id for arm, flavour, version, description.
const IMAGES: &[(&str, u64, u64, &str, &str, &str)] = &[
    ("debian-12", 114_690_387, 114_690_389, "debian", "12", "Debian 12"),
    ("debian-13", 310_557_660, 310_557_662, "debian", "13", "Debian 13"),
    ("debian-11", 45_557_056, 103_907_373, "debian", "11", "Debian 11"),
    ("ubuntu-24.04", 161_547_269, 161_547_270, "ubuntu", "24.04", "Ubuntu 24.04"),
    ("ubuntu-22.04", 67_794_396, 103_908_130, "ubuntu", "22.04", "Ubuntu 22.04"),
    ("fedora-41", 210_512_397, 210_512_398, "fedora", "41", "Fedora 41"),
    ("rocky-9", 76_418_477, 103_907_371, "rocky", "9", "Rocky Linux 9"),
    ("alma-9", 76_389_000, 103_908_060, "alma", "9", "AlmaLinux 9"),
    ("centos-stream-9", 45_561_000, 103_908_070, "centos", "stream 9", "CentOS Stream 9"),
];

/// Name, id, most services, connections, targets and certificates, monthly price.
type BalancerType = (&'static str, u64, u64, u64, u64, u64, &'static str);

const BALANCER_TYPES: &[BalancerType] = &[
    ("lb11", 1, 5, 10_000, 25, 10, "5.39"),
    ("lb21", 2, 15, 20_000, 75, 25, "16.40"),
    ("lb31", 3, 30, 40_000, 150, 50, "32.90"),
];

/// Every type of load balancer.
pub fn load_balancer_types() -> Vec<Value> {
    let one = |(name, id, services, connections, targets, certificates, monthly): &BalancerType| {
        json!({"id": id, "name": name, "description": name.to_uppercase(), "max_services": services,
            "max_connections": connections, "max_targets": targets, "max_assigned_certificates": certificates,
            "deprecated": null, "prices": prices(monthly)})
    };
    BALANCER_TYPES.iter().map(one).collect()
}

/// A type of load balancer by name or number.
pub fn load_balancer_type(wanted: &Value) -> Option<Value> {
    load_balancer_types().into_iter().find(|entry| is(entry, wanted))
}

/// Every location.
pub fn locations() -> Vec<Value> {
    LOCATIONS
        .iter()
        .map(|(name, id, country, city, zone, latitude, longitude)| {
            json!({"id": id, "name": name, "description": format!("{city} DC Park 1"), "country": country, "city": city,
                "latitude": latitude, "longitude": longitude, "network_zone": zone})
        })
        .collect()
}

fn price(monthly: &str) -> Value {
    let hourly = format!("{:.4}", monthly.parse::<f64>().unwrap_or(0.0) / 624.0);
    json!({"price_hourly": {"net": hourly, "gross": hourly}, "price_monthly": {"net": monthly, "gross": monthly}})
}

fn prices(monthly: &str) -> Value {
    let all = LOCATIONS.iter().map(|(name, ..)| {
        let mut row = price(monthly);
        row["location"] = json!(name);
        row["included_traffic"] = json!(21_990_232_555_520_u64);
        row["price_per_tb_traffic"] = json!({"net": "1.0000", "gross": "1.0000"});
        row
    });
    all.collect()
}

/// Every server type.
pub fn server_types() -> Vec<Value> {
    SERVER_TYPES
        .iter()
        .map(|(name, id, cores, memory, disk, architecture, cpu, monthly)| {
            json!({"id": id, "name": name, "description": name.to_uppercase(), "cores": cores, "memory": memory, "disk": disk,
                "deprecated": false, "deprecation": null, "prices": prices(monthly), "storage_type": "local",
                "cpu_type": cpu, "architecture": architecture, "category": format!("{cpu}_vcpu"),
                "included_traffic": 21_990_232_555_520_u64})
        })
        .collect()
}

/// Every image, both architectures.
pub fn images() -> Vec<Value> {
    let one = |id: u64, name: &str, architecture: &str, flavor: &str, version: &str, description: &str| {
        json!({"id": id, "type": "system", "status": "available", "name": name, "description": description,
            "image_size": null, "disk_size": 5, "created": "2024-04-25T13:26:27+00:00", "created_from": null, "bound_to": null,
            "os_flavor": flavor, "os_version": version, "rapid_deploy": true, "protection": {"delete": false},
            "deprecated": null, "deleted": null, "labels": {}, "architecture": architecture})
    };
    IMAGES
        .iter()
        .flat_map(|(name, x86, arm, flavor, version, description)| {
            [one(*x86, name, "x86", flavor, version, description), one(*arm, name, "arm", flavor, version, description)]
        })
        .collect()
}

fn datacenters() -> Vec<Value> {
    let kinds: Vec<u64> = SERVER_TYPES.iter().map(|(_, id, ..)| *id).collect();
    locations()
        .into_iter()
        .map(|location| {
            let name = location["name"].as_str().unwrap_or_default();
            json!({"id": location["id"], "name": format!("{name}-dc1"), "description": format!("{name} virtual DC 1"),
                "location": location, "server_types": {"supported": kinds, "available": kinds, "available_for_migration": kinds}})
        })
        .collect()
}

/// The location of that name or id.
pub fn location(wanted: &Value) -> Option<Value> {
    locations().into_iter().find(|one| is(one, wanted))
}

/// The datacenter of that name or id.
pub fn datacenter(wanted: &Value) -> Option<Value> {
    datacenters().into_iter().find(|one| is(one, wanted))
}

/// The server type of that name or id.
pub fn server_type(wanted: &Value) -> Option<Value> {
    server_types().into_iter().find(|one| is(one, wanted))
}

/// The image of that name or id that fits the architecture; `Err` when there is one, but not for it.
pub fn image(wanted: &Value, architecture: &Value) -> Result<Option<Value>, ()> {
    let fitting: Vec<Value> = images().into_iter().filter(|one| is(one, wanted)).collect();
    match fitting.iter().find(|one| one["architecture"] == *architecture) {
        Some(image) => Ok(Some(image.clone())),
        None if fitting.is_empty() => Ok(None),
        None => Err(()),
    }
}

/// Whether an entry has this name, or this id as number or text.
fn is(entry: &Value, wanted: &Value) -> bool {
    match wanted {
        Value::String(text) => entry["name"] == text.as_str() || super::has_id(entry, text),
        other => entry["id"] == *other,
    }
}

/// Answers the lists of what is offered.
pub fn answer(cx: &Cx<'_>, kind: &str, rest: &[&str]) -> Answer {
    if cx.call.method != "GET" {
        return Err(no_such_method());
    }
    if kind == "pricing" {
        return Ok(Reply::json(200, &json!({"pricing": pricing()})));
    }
    let all = match kind {
        "locations" => locations(),
        "datacenters" => datacenters(),
        "server_types" => server_types(),
        "isos" => {
            vec![json!({"id": 8637, "name": "debian-12-netinst.iso", "description": "Debian 12 (amd64/netinstall)",
            "type": "public", "deprecated": null, "deprecation": null, "architecture": "x86"})]
        }
        "load_balancer_types" => load_balancer_types(),
        _ => return Err(not_found("resource")),
    };
    match rest {
        [] => {
            let matches = |entry: &Value, name: &str| {
                let wanted: Vec<&str> = cx.call.all(name).collect();
                wanted.is_empty() || wanted.iter().any(|one| entry[name] == *one)
            };
            let labelled = cx.call.param("label_selector").is_some_and(|selector| !selector.is_empty());
            let found = all
                .into_iter()
                .filter(|entry| ["name", "type", "architecture", "status"].iter().all(|name| matches(entry, name)))
                .filter(|_| !labelled);
            let found = found.collect();
            let mut reply = pages(cx.call, kind, found, Value::clone)?;
            if kind == "datacenters" {
                let mut body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
                body["recommendation"] = json!(1);
                reply.body = body.to_string().into_bytes();
            }
            Ok(reply)
        }
        [id] => {
            let single = kind.strip_suffix('s').unwrap_or(kind);
            let entry = all.iter().find(|entry| super::has_id(entry, id)).ok_or_else(|| not_found(single))?;
            let mut body = Map::new();
            body.insert(single.to_owned(), entry.clone());
            Ok(Reply::json(200, &Value::Object(body)))
        }
        _ => Err(not_found("resource")),
    }
}

fn pricing() -> Value {
    let types: Vec<Value> = SERVER_TYPES
        .iter()
        .map(|(name, id, .., monthly)| json!({"id": id, "name": name, "prices": prices(monthly)}))
        .collect();
    let amount = |net: &str| json!({"net": net, "gross": net});
    json!({"currency": "EUR", "vat_rate": "0.00", "image": {"price_per_gb_month": amount("0.0110")},
        "floating_ip": {"price_monthly": amount("3.0000")}, "floating_ips": [], "primary_ips": [],
        "traffic": {"price_per_tb": amount("1.0000")}, "server_backup": {"percentage": "20.00"}, "server_types": types,
        "load_balancer_types": [], "volume": {"price_per_gb_month": amount("0.0440")}})
}
