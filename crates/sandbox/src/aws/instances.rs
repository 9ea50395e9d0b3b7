//! Owns EC2's instances that exist: describing, starting, stopping, changing and terminating them.

use super::{Answer, Cx, GROUP, INSTANCE, OWNER, addresses, bad, catalog, describe, missing, volumes, xml};
use crate::call::Reply;
use serde_json::{Value, json};

/// A terminated instance is still shown for this long.
const REMEMBERED_MS: i64 = 60 * 60 * 1000;

/// A state with its code.
pub fn state(name: &str) -> Value {
    let code = match name {
        "pending" => 0,
        "running" => 16,
        "shutting-down" => 32,
        "terminated" => 48,
        "stopping" => 64,
        _ => 80,
    };
    json!({"code": code, "name": name})
}

/// DescribeInstances: grouped by the call that started them.
pub fn describe(cx: &mut Cx<'_>) -> Answer {
    let found = describe::select(cx, INSTANCE, "InstanceId")?;
    let (shown, token) = describe::page(cx, "InstanceId", found)?;
    let mut reservations: Vec<Value> = Vec::new();
    for instance in shown {
        let instance = volumes::mapped(cx, instance);
        let reservation = instance["_reservation"].clone();
        match reservations.last_mut().filter(|last| last["reservationId"] == reservation) {
            Some(last) => {
                if let Some(list) = last["instancesSet"].as_array_mut() {
                    list.push(instance);
                }
            }
            None => reservations.push(
                json!({"reservationId": reservation, "ownerId": OWNER, "groupSet": [], "instancesSet": [instance]}),
            ),
        }
    }
    Ok(xml::response("DescribeInstances", &describe::body("reservationSet", reservations, token)))
}

/// DescribeInstanceStatus: running ones, or all with IncludeAllInstances.
pub fn status(cx: &mut Cx<'_>) -> Answer {
    let mut found = describe::select(cx, INSTANCE, "InstanceId")?;
    if cx.params.get("IncludeAllInstances") != Some("true") {
        found.retain(|instance| instance["instanceState"]["name"] == "running");
    }
    let (shown, token) = describe::page(cx, "InstanceId", found)?;
    let check = json!({"status": "ok", "details": [{"name": "reachability", "status": "passed"}]});
    let shown = shown
        .iter()
        .map(|instance| {
            json!({"instanceId": instance["instanceId"], "availabilityZone": instance["placement"]["availabilityZone"],
                "instanceState": instance["instanceState"], "systemStatus": check, "instanceStatus": check})
        })
        .collect();
    Ok(xml::response("DescribeInstanceStatus", &describe::body("instanceStatusSet", shown, token)))
}

/// DescribeInstanceAttribute.
pub fn attribute(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("InstanceId")?;
    let instance = cx.find(INSTANCE, &id)?;
    let name = cx.required("Attribute")?;
    let value = match name.as_str() {
        "userData" => json!({"value": instance["_user_data"]}),
        "disableApiTermination" => json!({"value": instance["_protected"]}),
        "instanceType" => json!({"value": instance["instanceType"]}),
        "sourceDestCheck" => json!({"value": instance["sourceDestCheck"]}),
        "ebsOptimized" => json!({"value": instance["ebsOptimized"]}),
        "instanceInitiatedShutdownBehavior" => json!({"value": "stop"}),
        "disableApiStop" => json!({"value": false}),
        "rootDeviceName" => json!({"value": instance["rootDeviceName"]}),
        "groupSet" => instance["groupSet"].clone(),
        "blockDeviceMapping" => volumes::mapped(cx, instance)["blockDeviceMapping"].clone(),
        other => {
            return Err(bad("InvalidParameterValue", format!("Value ({other}) for parameter attribute is invalid.")));
        }
    };
    let mut fields = json!({"instanceId": id});
    fields[&name] = value;
    Ok(xml::response("DescribeInstanceAttribute", &fields))
}

/// ModifyInstanceAttribute: one attribute a call, as EC2 wants it.
pub fn modify(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("InstanceId")?;
    let mut instance = cx.find(INSTANCE, &id)?;
    // The old form names the attribute, the new one is the parameter itself.
    let legacy = cx.params.get("Attribute").map(str::to_owned);
    let given = |name: &str, old: &str| {
        let value = if legacy.as_deref() == Some(old) { cx.params.get("Value") } else { None };
        value.or_else(|| cx.params.get(&format!("{name}.Value"))).or_else(|| cx.params.get(name)).map(str::to_owned)
    };
    let stopped = instance["instanceState"]["name"] == "stopped";
    let must_be_stopped = || {
        let message = format!("The instance '{id}' is not in the 'stopped' state.");
        if stopped { Ok(()) } else { Err(bad("IncorrectInstanceState", message)) }
    };
    let groups = cx.params.values("GroupId");
    let disks = cx.params.list("BlockDeviceMapping");
    if !disks.is_empty() {
        volumes::keep(cx, &id, &disks)?;
    } else if let Some(kind) = given("InstanceType", "instanceType") {
        let kind = catalog::instance_type(&kind)
            .ok_or_else(|| bad("InvalidInstanceAttributeValue", format!("Invalid value '{kind}' for InstanceType.")))?;
        must_be_stopped()?;
        if kind["_architecture"] != instance["architecture"] {
            return Err(bad(
                "InvalidInstanceAttributeValue",
                "The instance type's architecture does not fit the image.",
            ));
        }
        instance["instanceType"] = kind["instanceType"].clone();
    } else if let Some(on) = given("DisableApiTermination", "disableApiTermination") {
        instance["_protected"] = json!(on == "true");
    } else if let Some(on) = given("SourceDestCheck", "sourceDestCheck") {
        instance["sourceDestCheck"] = json!(on == "true");
    } else if let Some(text) = given("UserData", "userData") {
        must_be_stopped()?;
        instance["_user_data"] = json!(text);
    } else if let Some(on) = given("EbsOptimized", "ebsOptimized") {
        must_be_stopped()?;
        instance["ebsOptimized"] = json!(on == "true");
    } else if !groups.is_empty() {
        let mut set = Vec::new();
        for group_id in groups {
            let group = cx.find(GROUP, &group_id)?;
            if group["vpcId"] != instance["vpcId"] {
                return Err(bad(
                    "InvalidGroup.NotFound",
                    format!("You have specified two resources that belong to different networks: {group_id}"),
                ));
            }
            set.push(json!({"groupId": group["groupId"], "groupName": group["groupName"]}));
        }
        instance["groupSet"] = json!(set);
        instance["networkInterfaceSet"][0]["groupSet"] = json!(set);
    } else {
        return Err(bad("InvalidParameterCombination", "No attributes specified."));
    }
    cx.put(INSTANCE, &id, instance);
    cx.done("ModifyInstanceAttribute", &id)
}

/// The instances a request names; all must be there.
fn named(cx: &Cx<'_>) -> Result<Vec<(String, Value)>, Reply> {
    let ids = cx.params.values("InstanceId");
    if ids.is_empty() {
        return Err(missing("InstanceId"));
    }
    ids.into_iter().map(|id| cx.find(INSTANCE, &id).map(|instance| (id, instance))).collect()
}

fn name_of(instance: &Value) -> &str {
    instance["instanceState"]["name"].as_str().unwrap_or_default()
}

fn incorrect(id: &str, verb: &str) -> Reply {
    bad("IncorrectInstanceState", format!("The instance '{id}' is not in a state from which it can be {verb}."))
}

/// Moves instances through one state into another.
fn move_all(cx: &mut Cx<'_>, action: &str, through: &str, then: Value, idle: &[&str]) -> Answer {
    let until = cx.now + cx.world.action_ms();
    let mut rows = Vec::new();
    let mut about = Vec::new();
    for (id, mut instance) in named(cx)? {
        let before = instance["instanceState"].clone();
        if !idle.contains(&name_of(&instance)) {
            instance["instanceState"] = state(through);
            let mut set = then.clone();
            if set["ipAddress"] == true {
                set["ipAddress"] = instance["_public"].clone();
            }
            instance["_then"] = json!([{"at": until, "set": set}]);
            if through == "shutting-down" {
                instance["_gone_at"] = json!(until + REMEMBERED_MS);
                volumes::end(cx, &id);
                addresses::free(cx, "instanceId", &id);
            }
            cx.put(INSTANCE, &id, instance.clone());
        }
        rows.push(json!({"instanceId": id, "currentState": instance["instanceState"], "previousState": before}));
        about.push(id);
    }
    Ok(xml::response(action, &json!({ "instancesSet": rows })).about(about.join(",")))
}

/// StartInstances.
pub fn start(cx: &mut Cx<'_>) -> Answer {
    for (id, instance) in named(cx)? {
        if !matches!(name_of(&instance), "stopped" | "running" | "pending") {
            return Err(incorrect(&id, "started"));
        }
        if !volumes::has_root(cx, &id) {
            let message = format!(
                "Invalid value '{id}' for instanceId. Instance does not have a volume attached at root ({})",
                volumes::ROOT
            );
            return Err(bad("IncorrectInstanceState", message));
        }
    }
    let then = json!({"instanceState": state("running"), "ipAddress": true});
    move_all(cx, "StartInstances", "pending", then, &["running", "pending"])
}

/// StopInstances.
pub fn stop(cx: &mut Cx<'_>) -> Answer {
    for (id, instance) in named(cx)? {
        if !matches!(name_of(&instance), "running" | "stopping" | "stopped") {
            return Err(incorrect(&id, "stopped"));
        }
    }
    let then = json!({"instanceState": state("stopped"), "ipAddress": null});
    move_all(cx, "StopInstances", "stopping", then, &["stopping", "stopped"])
}

/// RebootInstances.
pub fn reboot(cx: &mut Cx<'_>) -> Answer {
    for (id, instance) in named(cx)? {
        if name_of(&instance) != "running" {
            return Err(incorrect(&id, "rebooted"));
        }
    }
    cx.done("RebootInstances", "")
}

/// TerminateInstances, which is content with what is terminated already.
pub fn terminate(cx: &mut Cx<'_>) -> Answer {
    for (id, instance) in named(cx)? {
        if instance["_protected"] == true {
            let message = format!(
                "The instance '{id}' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again."
            );
            return Err(bad("OperationNotPermitted", message));
        }
    }
    let then = json!({"instanceState": state("terminated"), "ipAddress": null, "privateIpAddress": null, "subnetId": null,
        "vpcId": null, "networkInterfaceSet": [], "groupSet": []});
    move_all(cx, "TerminateInstances", "shutting-down", then, &["shutting-down", "terminated"])
}
