//! Owns the firewall rules of UpCloud's servers: an ordered list, of which a position is the only name.

use super::{Answer, Cx, error, invalid, members, no_such_method};
use crate::call::Reply;
use serde_json::{Value, json};

const FIELDS: [&str; 11] = [
    "comment",
    "destination_address_end",
    "destination_address_start",
    "destination_port_end",
    "destination_port_start",
    "icmp_type",
    "protocol",
    "source_address_end",
    "source_address_start",
    "source_port_end",
    "source_port_start",
];

/// The most rules of a server.
const MOST: usize = 1000;

/// Answers `/server/{uuid}/firewall_rule…`.
pub fn answer(cx: &mut Cx<'_>, id: &str, rest: &[&str]) -> Answer {
    let mut server = cx.find("server", id)?;
    let mut rules = server["_rules"].as_array().cloned().unwrap_or_default();
    let at = |position: &str, rules: &[Value]| -> Result<usize, Reply> {
        let found = position.parse::<usize>().ok().filter(|position| (1..=rules.len()).contains(position));
        found.map(|position| position - 1).ok_or_else(|| {
            error(404, "FIREWALL_RULE_NOT_FOUND", &format!("The firewall rule {position} does not exist."))
        })
    };
    let reply = match (cx.call.method.as_str(), rest) {
        ("GET", []) => {
            let all: Vec<Value> = (0..rules.len()).map(|at| shown(&rules, at)).collect();
            return Ok(Reply::json(200, &json!({"firewall_rules": {"firewall_rule": all}})));
        }
        ("GET", [position]) => {
            return Ok(Reply::json(200, &json!({"firewall_rule": shown(&rules, at(position, &rules)?)})));
        }
        ("POST", []) => {
            let asked = cx.body["firewall_rule"].clone();
            let last = rules.len();
            let at = super::number(&asked["position"]).and_then(|it| usize::try_from(it).ok()).unwrap_or(last + 1);
            let at = at.clamp(1, last + 1) - 1;
            rules.insert(at, whole(&asked)?);
            Reply::json(201, &json!({"firewall_rule": shown(&rules, at)}))
        }
        ("PUT", []) => {
            rules = members(&cx.body["firewall_rules"]["firewall_rule"]).iter().map(whole).collect::<Result<_, _>>()?;
            Reply::empty()
        }
        ("DELETE", [position]) => {
            rules.remove(at(position, &rules)?);
            Reply::empty()
        }
        _ => return Err(no_such_method()),
    };
    if rules.len() > MOST {
        return Err(error(409, "FIREWALL_RULE_LIMIT_REACHED", "The server has too many firewall rules."));
    }
    server["_rules"] = json!(rules);
    cx.put("server", &server);
    Ok(reply.about(id))
}

fn shown(rules: &[Value], at: usize) -> Value {
    let mut rule = rules.get(at).cloned().unwrap_or_default();
    rule["position"] = json!((at + 1).to_string());
    rule
}

/// A rule with everything that the vendor fills in.
fn whole(asked: &Value) -> Result<Value, Reply> {
    let choice = |name: &str, usual: Option<&str>, choices: &[&str]| -> Result<Value, Reply> {
        let code = format!("FIREWALL_RULE_{}_INVALID", name.to_uppercase());
        match asked[name].as_str().or(usual).filter(|text| choices.contains(text)) {
            Some(text) => Ok(json!(text)),
            None => Err(invalid(&code, format!("The attribute {name} has an invalid value."))),
        }
    };
    let mut rule = json!({
        "action": choice("action", None, &["accept", "reject", "drop"])?,
        "direction": choice("direction", None, &["in", "out"])?,
        "family": choice("family", Some(""), &["", "IPv4", "IPv6"])?,
    });
    choice("protocol", Some(""), &["", "tcp", "udp", "icmp"])?;
    for name in FIELDS {
        rule[name] = match &asked[name] {
            Value::Null => json!(""),
            Value::Number(number) => json!(number.to_string()),
            text => text.clone(),
        };
    }
    for (start, end) in [("source_port_start", "source_port_end"), ("destination_port_start", "destination_port_end")] {
        let port = |name: &str| super::number(&rule[name]).filter(|port| (1..=65_535).contains(port));
        let fits = match (rule[start] == "", rule[end] == "") {
            (true, true) => true,
            (false, false) => port(start).zip(port(end)).is_some_and(|(start, end)| start <= end),
            _ => false,
        };
        if !fits {
            let code = format!("FIREWALL_RULE_{}_INVALID", start.to_uppercase());
            return Err(invalid(&code, format!("The attributes {start} and {end} do not fit.")));
        }
    }
    Ok(rule)
}
