//! Owns EC2's security groups. Their rules are in `rules`.

use super::kinds::INTERFACE;
use super::{Answer, Cx, GROUP, INSTANCE, OWNER, RULE, VPC, bad, describe, new_id, rules, xml};
use crate::call::Reply;
use serde_json::{Value, json};

/// CreateSecurityGroup.
pub fn create(cx: &mut Cx<'_>) -> Answer {
    let name = cx.required("GroupName")?;
    let description = cx.required("GroupDescription")?;
    let vpc_id = cx.params.get("VpcId").map(str::to_owned);
    let vpc_id = vpc_id.ok_or_else(|| bad("VPCIdNotSpecified", "No default VPC for this user"))?;
    cx.find(VPC, &vpc_id)?;
    if name.starts_with("sg-") {
        return Err(bad("InvalidParameterValue", "Group names may not be in the format sg-*"));
    }
    if name == "default" {
        return Err(bad("InvalidParameterValue", "Cannot use reserved security group name: default"));
    }
    let unusual = |text: &str| {
        text.len() > 255 || !text.chars().all(|c| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c))
    };
    if unusual(&name) || unusual(&description) {
        return Err(bad("InvalidParameterValue", "Invalid security group name or description"));
    }
    if by_name(cx, &name, &vpc_id).is_some() {
        let message = format!("The security group '{name}' already exists for VPC '{vpc_id}'");
        return Err(bad("InvalidGroup.Duplicate", message));
    }
    let tags = cx.tags_for("security-group")?;
    let id = keep(cx, &name, &description, &vpc_id, tags.clone(), false);
    let fields = json!({"return": true, "groupId": id, "tagSet": tags, "securityGroupArn": arn(cx, &id)});
    Ok(xml::response("CreateSecurityGroup", &fields).about(id))
}

fn arn(cx: &Cx<'_>, id: &str) -> String {
    format!("arn:aws:ec2:{}:{OWNER}:security-group/{id}", cx.region)
}

fn keep(cx: &mut Cx<'_>, name: &str, description: &str, vpc_id: &str, tags: Value, builtin: bool) -> String {
    let id = new_id("sg");
    let group = json!({"ownerId": OWNER, "groupName": name, "groupDescription": description, "groupId": id, "vpcId": vpc_id,
        "tagSet": tags, "securityGroupArn": arn(cx, &id), "_builtin": builtin});
    cx.put(GROUP, &id, group);
    rules::add(
        cx,
        &id,
        true,
        json!({"ipProtocol": "-1", "fromPort": -1, "toPort": -1, "cidrIpv4": "0.0.0.0/0"}),
        json!([]),
    );
    id
}

/// The group that every VPC comes with.
pub fn create_default(cx: &mut Cx<'_>, vpc_id: &str) {
    let id = keep(cx, "default", "default VPC security group", vpc_id, json!([]), true);
    let own = json!({"ipProtocol": "-1", "fromPort": -1, "toPort": -1, "referencedGroupInfo": {"groupId": id, "userId": OWNER}});
    rules::add(cx, &id, false, own, json!([]));
}

/// The group of that name in a VPC.
pub fn by_name(cx: &Cx<'_>, name: &str, vpc_id: &str) -> Option<Value> {
    cx.every(GROUP).find(|group| group["groupName"] == name && group["vpcId"] == vpc_id)
}

/// Takes a group and its rules away.
pub fn drop_group(cx: &mut Cx<'_>, id: &str) {
    let rules: Vec<Value> = cx.every(RULE).filter(|rule| rule["groupId"] == id).collect();
    for rule in rules {
        cx.world.store.remove(&cx.scope, RULE.name, rule["securityGroupRuleId"].as_str().unwrap_or_default());
    }
    cx.world.store.remove(&cx.scope, GROUP.name, id);
}

/// DescribeSecurityGroups.
pub fn describe(cx: &mut Cx<'_>) -> Answer {
    let names = cx.params.values("GroupName");
    let mut found = describe::select(cx, GROUP, "GroupId")?;
    if let Some(name) = names.iter().find(|name| !found.iter().any(|group| group["groupName"] == name.as_str())) {
        return Err(bad(GROUP.not_found, format!("The security group '{name}' does not exist")));
    }
    found.retain(|group| names.is_empty() || names.iter().any(|name| group["groupName"] == name.as_str()));
    let (mut shown, token) = describe::page(cx, "GroupId", found)?;
    let mut all = rules::by_group(cx);
    for group in &mut shown {
        let own = all.remove(group["groupId"].as_str().unwrap_or_default()).unwrap_or_default();
        group["ipPermissions"] = rules::permissions(&own, false);
        group["ipPermissionsEgress"] = rules::permissions(&own, true);
    }
    Ok(xml::response("DescribeSecurityGroups", &describe::body("securityGroupInfo", shown, token)))
}

/// The group that a request names by `GroupId` or, with none, by `GroupName`.
pub fn named(cx: &Cx<'_>) -> Result<Value, Reply> {
    match (cx.params.get("GroupId"), cx.params.get("GroupName")) {
        (Some(id), _) => cx.find(GROUP, id),
        (None, Some(name)) => {
            let absent = || bad(GROUP.not_found, format!("The security group '{name}' does not exist in default VPC"));
            cx.every(GROUP).find(|group| group["groupName"] == name).ok_or_else(absent)
        }
        (None, None) => Err(super::missing("GroupId")),
    }
}

/// DeleteSecurityGroup: refused while an instance uses it or a rule of another group names it.
pub fn delete(cx: &mut Cx<'_>) -> Answer {
    let group = named(cx)?;
    let id = group["groupId"].as_str().unwrap_or_default().to_owned();
    if group["groupName"] == "default" {
        return Err(bad("CannotDelete", "the specified group: \"default\" cannot be deleted by a user"));
    }
    let worn = cx.every(INSTANCE).chain(cx.every(INTERFACE)).any(|instance| {
        instance["instanceState"]["name"] != "terminated"
            && instance["groupSet"].as_array().is_some_and(|set| set.iter().any(|one| one["groupId"] == id.as_str()))
    });
    let named = cx
        .every(RULE)
        .any(|rule| rule["referencedGroupInfo"]["groupId"] == id.as_str() && rule["groupId"] != id.as_str());
    if worn || named {
        return Err(bad("DependencyViolation", format!("resource {id} has a dependent object")));
    }
    drop_group(cx, &id);
    Ok(xml::response("DeleteSecurityGroup", &json!({"return": true, "groupId": id})).about(id))
}
