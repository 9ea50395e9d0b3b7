//! Owns EC2's network interfaces that somebody made; those that come with an instance are shown with it.

use super::kinds::{ADDRESS_USE, INTERFACE};
use super::{Answer, Cx, GROUP, OWNER, SUBNET, addresses, bad, describe, groups, new_id, subnets, tokens, xml};
use crate::call::Reply;
use serde_json::{Value, json};

/// The groups of that name in a request, all of the VPC.
fn group_set(cx: &Cx<'_>, vpc_id: &str) -> Result<Vec<Value>, Reply> {
    let mut set = Vec::new();
    for id in cx.params.values("SecurityGroupId") {
        let group = cx.find(GROUP, &id)?;
        if group["vpcId"] != vpc_id {
            let message = format!("You have specified two resources that belong to different networks: {id}");
            return Err(bad("InvalidGroup.NotFound", message));
        }
        set.push(json!({"groupId": id, "groupName": group["groupName"]}));
    }
    Ok(set)
}

/// CreateNetworkInterface.
pub fn create(cx: &mut Cx<'_>) -> Answer {
    let (token, before) = tokens::read(cx)?;
    if let Some(interface) = before.first().and_then(|id| cx.find(INTERFACE, id).ok()) {
        return Ok(xml::response("CreateNetworkInterface", &json!({ "networkInterface": interface })));
    }
    let subnet = cx.find(SUBNET, &cx.required("SubnetId")?)?;
    let vpc_id = subnet["vpcId"].as_str().unwrap_or_default().to_owned();
    let mut set = group_set(cx, &vpc_id)?;
    if set.is_empty() {
        let default = groups::by_name(cx, "default", &vpc_id);
        set.extend(default.map(|group| json!({"groupId": group["groupId"], "groupName": group["groupName"]})));
    }
    let private = subnets::addresses(cx, &subnet, 1, cx.params.get("PrivateIpAddress"))?[0].to_string();
    let tags = cx.tags_for("network-interface")?;
    let id = new_id("eni");
    let number = cx.world.store.next("aws.mac");
    let interface = json!({"networkInterfaceId": id, "subnetId": subnet["subnetId"], "vpcId": vpc_id,
        "availabilityZone": subnet["availabilityZone"], "description": cx.params.get("Description").unwrap_or_default(),
        "ownerId": OWNER, "requesterManaged": false, "status": "pending", "privateIpAddress": private,
        "macAddress": format!("06:00:00:{:02x}:{:02x}:{:02x}", number >> 16 & 255, number >> 8 & 255, number & 255),
        "sourceDestCheck": true, "groupSet": set, "interfaceType": "interface", "tagSet": tags,
        "privateIpAddressesSet": [{"privateIpAddress": private, "primary": true}],
        "_then": [{"at": cx.then(), "set": {"status": "available"}}]});
    cx.put(INTERFACE, &id, interface.clone());
    tokens::keep(cx, token, &[&id]);
    Ok(xml::response("CreateNetworkInterface", &json!({ "networkInterface": interface })).about(id))
}

/// DescribeNetworkInterfaces. Their tags are in `tagSet`.
pub fn describe(cx: &mut Cx<'_>) -> Answer {
    describe::list(cx, "DescribeNetworkInterfaces", "networkInterfaceSet", INTERFACE, "NetworkInterfaceId")
}

/// ModifyNetworkInterfaceAttribute: one attribute a call.
pub fn modify(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("NetworkInterfaceId")?;
    let mut interface = cx.find(INTERFACE, &id)?;
    let vpc_id = interface["vpcId"].as_str().unwrap_or_default().to_owned();
    let groups = group_set(cx, &vpc_id)?;
    let description = cx.params.get("Description.Value").map(str::to_owned);
    let check = cx.params.get("SourceDestCheck.Value").map(|text| text == "true");
    match (description, check, groups.is_empty()) {
        (Some(text), None, true) => interface["description"] = json!(text),
        (None, Some(on), true) => interface["sourceDestCheck"] = json!(on),
        (None, None, false) => interface["groupSet"] = json!(groups),
        _ => return Err(bad("InvalidParameterCombination", "Exactly one attribute must be specified")),
    }
    cx.put(INTERFACE, &id, interface);
    cx.done("ModifyNetworkInterfaceAttribute", &id)
}

/// DeleteNetworkInterface; an address that points to it points nowhere then.
pub fn delete(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("NetworkInterfaceId")?;
    cx.find(INTERFACE, &id)?;
    let named = cx.every(ADDRESS_USE).any(|one| one["networkInterfaceId"] == id.as_str());
    if named {
        addresses::free(cx, "networkInterfaceId", &id);
    }
    cx.drop(INTERFACE, &id);
    cx.done("DeleteNetworkInterface", &id)
}
