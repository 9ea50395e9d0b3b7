//! Owns the rules of EC2's security groups, one row each, and the permissions they add up to.

use super::{Answer, Cx, GROUP, OWNER, Params, RULE, bad, describe, groups, missing, new_id, xml};
use crate::call::Reply;
use serde_json::{Value, json};
use std::collections::HashMap;

/// What a rule lets in or out: one of these per rule.
const PEERS: &[&str] = &["cidrIpv4", "cidrIpv6", "prefixListId", "referencedGroupInfo"];

/// Adds a rule to a group and returns it.
pub fn add(cx: &mut Cx<'_>, group_id: &str, egress: bool, mut rule: Value, tags: Value) -> Value {
    let id = new_id("sgr");
    rule["securityGroupRuleId"] = json!(id);
    rule["groupId"] = json!(group_id);
    rule["groupOwnerId"] = json!(OWNER);
    rule["isEgress"] = json!(egress);
    rule["tagSet"] = tags;
    rule["securityGroupRuleArn"] = json!(format!("arn:aws:ec2:{}:{OWNER}:security-group-rule/{id}", cx.region));
    cx.put(RULE, &id, rule.clone());
    rule
}

/// Every rule, by the group it belongs to.
pub fn by_group(cx: &Cx<'_>) -> HashMap<String, Vec<Value>> {
    let mut all: HashMap<String, Vec<Value>> = HashMap::new();
    for rule in cx.every(RULE) {
        all.entry(rule["groupId"].as_str().unwrap_or_default().to_owned()).or_default().push(rule);
    }
    all
}

/// The rules as `ipPermissions`: one entry per protocol and ports, with lists of peers.
pub fn permissions(rules: &[Value], egress: bool) -> Value {
    let mut all: Vec<Value> = Vec::new();
    for rule in rules.iter().filter(|rule| rule["isEgress"] == egress) {
        let open = rule["ipProtocol"] == "-1";
        let same = |entry: &Value| {
            entry["ipProtocol"] == rule["ipProtocol"]
                && (open || (entry["fromPort"] == rule["fromPort"] && entry["toPort"] == rule["toPort"]))
        };
        let at = all.iter().position(same).unwrap_or_else(|| {
            let mut entry = json!({"ipProtocol": rule["ipProtocol"], "groups": [], "ipRanges": [], "ipv6Ranges": [], "prefixListIds": []});
            if !open {
                entry["fromPort"] = rule["fromPort"].clone();
                entry["toPort"] = rule["toPort"].clone();
            }
            all.push(entry);
            all.len() - 1
        });
        let mut peer = match PEERS.iter().find(|peer| !rule[**peer].is_null()) {
            Some(&"cidrIpv4") => ("ipRanges", json!({"cidrIp": rule["cidrIpv4"]})),
            Some(&"cidrIpv6") => ("ipv6Ranges", json!({"cidrIpv6": rule["cidrIpv6"]})),
            Some(&"prefixListId") => ("prefixListIds", json!({"prefixListId": rule["prefixListId"]})),
            _ => ("groups", rule["referencedGroupInfo"].clone()),
        };
        if !rule["description"].is_null() {
            peer.1["description"] = rule["description"].clone();
        }
        if let Some(list) = all[at][peer.0].as_array_mut() {
            list.push(peer.1);
        }
    }
    Value::Array(all)
}

fn invalid(message: String) -> Reply {
    bad("InvalidParameterValue", message)
}

/// One entry of `IpPermissions` as rules, one per peer.
fn read(cx: &Cx<'_>, entry: &Params) -> Result<Vec<Value>, Reply> {
    let protocol = entry.get("IpProtocol").ok_or_else(|| missing("IpProtocol"))?;
    let protocol = match protocol {
        "6" => "tcp",
        "17" => "udp",
        "1" => "icmp",
        "all" => "-1",
        other => other,
    };
    let known = matches!(protocol, "tcp" | "udp" | "icmp" | "icmpv6" | "-1") || protocol.parse::<u8>().is_ok();
    if !known {
        return Err(invalid(format!("Invalid value '{protocol}' for IP protocol. Unknown protocol.")));
    }
    let port = |name: &str| match entry.get(name) {
        None => Ok(None),
        Some(text) => text.parse::<i64>().map(Some).map_err(|_| invalid(format!("Invalid value '{text}' for {name}"))),
    };
    let (from, to) = (port("FromPort")?, port("ToPort")?);
    if matches!(protocol, "tcp" | "udp") {
        let (Some(from), Some(to)) = (from, to) else {
            return Err(invalid(
                "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.".to_owned(),
            ));
        };
        if from > to || !(0..=65535).contains(&from) || !(0..=65535).contains(&to) {
            return Err(invalid(format!("Invalid TCP/UDP port range ({from}:{to})")));
        }
    }
    let base = if protocol == "-1" {
        json!({"ipProtocol": "-1", "fromPort": -1, "toPort": -1})
    } else {
        json!({"ipProtocol": protocol, "fromPort": from.unwrap_or(-1), "toPort": to.unwrap_or(-1)})
    };
    let with = |peer: &str, value: Value, source: &Params| {
        let mut rule = base.clone();
        rule[peer] = value;
        rule["description"] = source.get("Description").map_or(Value::Null, |text| json!(text));
        rule
    };
    let mut rules = Vec::new();
    for one in entry.list("IpRanges") {
        let cidr = one.get("CidrIp").ok_or_else(|| missing("CidrIp"))?;
        rules.push(with("cidrIpv4", json!(ipv4(cidr)?), &one));
    }
    for one in entry.list("Ipv6Ranges") {
        let cidr = one.get("CidrIpv6").ok_or_else(|| missing("CidrIpv6"))?;
        rules.push(with("cidrIpv6", json!(cidr), &one));
    }
    for one in entry.list("PrefixListIds") {
        rules.push(with("prefixListId", json!(one.get("PrefixListId")), &one));
    }
    for one in entry.list("Groups") {
        let id = one.get("GroupId").ok_or_else(|| missing("GroupId"))?;
        cx.find(GROUP, id)?;
        rules.push(with("referencedGroupInfo", json!({"groupId": id, "userId": OWNER}), &one));
    }
    if rules.is_empty() {
        return Err(missing("IpRanges"));
    }
    Ok(rules)
}

/// The range as EC2 keeps it: host bits are cut off.
fn ipv4(cidr: &str) -> Result<String, Reply> {
    let bad_range = || invalid(format!("CIDR block {cidr} is malformed"));
    let (address, prefix) = cidr.split_once('/').ok_or_else(bad_range)?;
    let address: std::net::Ipv4Addr = address.parse().map_err(|_| bad_range())?;
    let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= 32).ok_or_else(bad_range)?;
    let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    Ok(format!("{}/{prefix}", std::net::Ipv4Addr::from(u32::from(address) & mask)))
}

/// The rules a request describes: `IpPermissions.N`, or the old form at the top level.
fn wanted(cx: &Cx<'_>) -> Result<Vec<Value>, Reply> {
    let mut all = Vec::new();
    let entries = cx.params.list("IpPermissions");
    for entry in &entries {
        all.extend(read(cx, entry)?);
    }
    if entries.is_empty() && cx.params.get("IpProtocol").is_some() {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for name in ["IpProtocol", "FromPort", "ToPort"] {
            pairs.extend(cx.params.get(name).map(|value| (name.to_owned(), value.to_owned())));
        }
        let cidr = cx.required("CidrIp")?;
        pairs.push(("IpRanges.1.CidrIp".to_owned(), cidr));
        all.extend(read(cx, &Params::new(pairs))?);
    }
    if all.is_empty() {
        return Err(missing("IpPermissions"));
    }
    Ok(all)
}

fn equal(a: &Value, b: &Value) -> bool {
    ["ipProtocol", "fromPort", "toPort"]
        .iter()
        .chain(PEERS)
        .all(|field| a.get(*field) == b.get(*field) || (a[*field].is_null() && b[*field].is_null()))
}

fn own(cx: &Cx<'_>, group_id: &str, egress: bool) -> Vec<Value> {
    cx.every(RULE).filter(|rule| rule["groupId"] == group_id && rule["isEgress"] == egress).collect()
}

fn authorize(cx: &mut Cx<'_>, action: &str, egress: bool) -> Answer {
    let group = groups::named(cx)?;
    let id = group["groupId"].as_str().unwrap_or_default().to_owned();
    let wanted = wanted(cx)?;
    let there = own(cx, &id, egress);
    for (at, rule) in wanted.iter().enumerate() {
        if there.iter().chain(&wanted[..at]).any(|other| equal(other, rule)) {
            let message = "the specified rule already exists in the security group";
            return Err(bad("InvalidPermission.Duplicate", message));
        }
    }
    let tags = cx.tags_for("security-group-rule")?;
    let added: Vec<Value> = wanted.into_iter().map(|rule| add(cx, &id, egress, rule, tags.clone())).collect();
    Ok(xml::response(action, &json!({"return": true, "securityGroupRuleSet": added})).about(id))
}

fn revoke(cx: &mut Cx<'_>, action: &str, egress: bool) -> Answer {
    let group = groups::named(cx)?;
    let id = group["groupId"].as_str().unwrap_or_default().to_owned();
    let there = own(cx, &id, egress);
    let ids = cx.params.values("SecurityGroupRuleId");
    let absent = || bad("InvalidPermission.NotFound", "The specified rule does not exist in this security group.");
    let mut going = Vec::new();
    if ids.is_empty() {
        for rule in wanted(cx)? {
            going.push(there.iter().find(|one| equal(one, &rule)).cloned().ok_or_else(absent)?);
        }
    } else {
        for rule_id in &ids {
            let found = there.iter().find(|rule| rule["securityGroupRuleId"] == rule_id.as_str());
            going.push(found.cloned().ok_or_else(|| RULE.absent(rule_id))?);
        }
    }
    for rule in &going {
        cx.world.store.remove(&cx.scope, RULE.name, rule["securityGroupRuleId"].as_str().unwrap_or_default());
    }
    Ok(xml::response(action, &json!({"return": true, "revokedSecurityGroupRuleSet": going})).about(id))
}

/// AuthorizeSecurityGroupIngress.
pub fn authorize_ingress(cx: &mut Cx<'_>) -> Answer {
    authorize(cx, "AuthorizeSecurityGroupIngress", false)
}

/// AuthorizeSecurityGroupEgress.
pub fn authorize_egress(cx: &mut Cx<'_>) -> Answer {
    authorize(cx, "AuthorizeSecurityGroupEgress", true)
}

/// RevokeSecurityGroupIngress.
pub fn revoke_ingress(cx: &mut Cx<'_>) -> Answer {
    revoke(cx, "RevokeSecurityGroupIngress", false)
}

/// RevokeSecurityGroupEgress.
pub fn revoke_egress(cx: &mut Cx<'_>) -> Answer {
    revoke(cx, "RevokeSecurityGroupEgress", true)
}

/// DescribeSecurityGroupRules.
pub fn describe(cx: &mut Cx<'_>) -> Answer {
    describe::list(cx, "DescribeSecurityGroupRules", "securityGroupRuleSet", RULE, "SecurityGroupRuleId")
}
