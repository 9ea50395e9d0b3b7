//! Owns EC2's internet gateways, each attached to one VPC at most.

use super::kinds::{ADDRESS_USE, GATEWAY};
use super::{Answer, Cx, OWNER, VPC, bad, describe, new_id, xml};
use serde_json::{Value, json};

/// CreateInternetGateway.
pub fn create(cx: &mut Cx<'_>) -> Answer {
    let tags = cx.tags_for("internet-gateway")?;
    let id = new_id("igw");
    let gateway = json!({"internetGatewayId": id, "ownerId": OWNER, "attachmentSet": [], "tagSet": tags});
    cx.put(GATEWAY, &id, gateway.clone());
    Ok(xml::response("CreateInternetGateway", &json!({ "internetGateway": gateway })).about(id))
}

fn vpc_of(gateway: &Value) -> Option<&str> {
    gateway["attachmentSet"][0]["vpcId"].as_str()
}

/// The gateway that a VPC is attached to.
pub fn of_vpc(cx: &Cx<'_>, vpc_id: &str) -> Option<Value> {
    cx.every(GATEWAY).find(|gateway| vpc_of(gateway) == Some(vpc_id))
}

/// AttachInternetGateway.
pub fn attach(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("InternetGatewayId")?;
    let vpc_id = cx.required("VpcId")?;
    let mut gateway = cx.find(GATEWAY, &id)?;
    cx.find(VPC, &vpc_id)?;
    if let Some(other) = vpc_of(&gateway) {
        let message = format!("resource {id} is already attached to network {other}");
        return Err(bad("Resource.AlreadyAssociated", message));
    }
    if of_vpc(cx, &vpc_id).is_some() {
        let message = format!("Network {vpc_id} already has an internet gateway attached");
        return Err(bad("InvalidParameterValue", message));
    }
    gateway["attachmentSet"] = json!([{"vpcId": vpc_id, "state": "available"}]);
    cx.put(GATEWAY, &id, gateway);
    cx.done("AttachInternetGateway", &id)
}

/// DetachInternetGateway: refused while something in the VPC has a public address.
pub fn detach(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("InternetGatewayId")?;
    let vpc_id = cx.required("VpcId")?;
    let mut gateway = cx.find(GATEWAY, &id)?;
    cx.find(VPC, &vpc_id)?;
    if vpc_of(&gateway) != Some(vpc_id.as_str()) {
        return Err(bad("Gateway.NotAttached", format!("resource {id} is not attached to network {vpc_id}")));
    }
    if cx.every(ADDRESS_USE).any(|one| one["_vpc"] == vpc_id.as_str()) {
        let message = format!(
            "Network {vpc_id} has some mapped public address(es). Please unmap those public address(es) before detaching the gateway."
        );
        return Err(bad("DependencyViolation", message));
    }
    gateway["attachmentSet"] = json!([]);
    cx.put(GATEWAY, &id, gateway);
    cx.done("DetachInternetGateway", &id)
}

/// DescribeInternetGateways.
pub fn describe(cx: &mut Cx<'_>) -> Answer {
    describe::list(cx, "DescribeInternetGateways", "internetGatewaySet", GATEWAY, "InternetGatewayId")
}

/// DeleteInternetGateway: refused while it is attached.
pub fn delete(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("InternetGatewayId")?;
    let gateway = cx.find(GATEWAY, &id)?;
    if vpc_of(&gateway).is_some() {
        let message = format!("The internetGateway '{id}' has dependencies and cannot be deleted.");
        return Err(bad("DependencyViolation", message));
    }
    cx.drop(GATEWAY, &id);
    cx.done("DeleteInternetGateway", &id)
}
