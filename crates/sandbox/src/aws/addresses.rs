//! Owns EC2's elastic addresses and what they point to.

use super::kinds::{ADDRESS, ADDRESS_USE, INTERFACE};
use super::{Answer, Cx, INSTANCE, OWNER, bad, describe, gateways, missing, new_id, xml};
use crate::call::Reply;
use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// A public address that nobody had before.
pub fn fresh(cx: &mut Cx<'_>) -> Ipv4Addr {
    let number = u32::try_from(cx.world.store.next("aws.address")).unwrap_or(u32::MAX);
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 19, 0, 0)) + number % 65_000 + 1)
}

/// AllocateAddress.
pub fn allocate(cx: &mut Cx<'_>) -> Answer {
    if let Some(domain) = cx.params.get("Domain").filter(|domain| *domain != "vpc") {
        return Err(bad("InvalidParameterValue", format!("Value ({domain}) for parameter domain is invalid.")));
    }
    let tags = cx.tags_for("elastic-ip")?;
    let id = new_id("eipalloc");
    let public = fresh(cx).to_string();
    let address = json!({"publicIp": public, "allocationId": id, "domain": "vpc", "publicIpv4Pool": "amazon",
        "networkBorderGroup": cx.region, "associationId": null, "instanceId": null, "networkInterfaceId": null,
        "privateIpAddress": null, "tagSet": tags});
    cx.put(ADDRESS, &id, address.clone());
    Ok(xml::response("AllocateAddress", &address).about(id))
}

fn use_of(cx: &Cx<'_>, id: &str) -> Option<Value> {
    cx.every(ADDRESS_USE).find(|one| one["_address"] == id)
}

/// DescribeAddresses, which has no pages.
pub fn describe(cx: &mut Cx<'_>) -> Answer {
    let mut all = describe::chosen(cx, ADDRESS, "AllocationId")?;
    for address in &mut all {
        if let Some(used) = use_of(cx, address["allocationId"].as_str().unwrap_or_default()) {
            for field in ["associationId", "instanceId", "networkInterfaceId", "privateIpAddress"] {
                address[field] = used[field].clone();
            }
            address["networkInterfaceOwnerId"] = json!(OWNER);
        }
    }
    let wanted = cx.params.values("PublicIp");
    all.retain(|address| wanted.is_empty() || wanted.iter().any(|one| address["publicIp"] == one.as_str()));
    let found = describe::narrow(cx, all)?;
    Ok(xml::response("DescribeAddresses", &json!({ "addressesSet": found })))
}

/// ReleaseAddress: refused while it is in use.
pub fn release(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("AllocationId")?;
    let address = cx.find(ADDRESS, &id)?;
    if use_of(cx, &id).is_some() {
        let message = format!("Address {} is in use.", address["publicIp"].as_str().unwrap_or_default());
        return Err(bad("InvalidIPAddress.InUse", message));
    }
    cx.drop(ADDRESS, &id);
    cx.done("ReleaseAddress", &id)
}

/// AssociateAddress, with an instance or a network interface. The same again is the same association.
pub fn associate(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("AllocationId")?;
    cx.find(ADDRESS, &id)?;
    let (kind, name, field) = match (cx.params.get("InstanceId"), cx.params.get("NetworkInterfaceId")) {
        (Some(_), _) => (INSTANCE, "InstanceId", "instanceId"),
        (None, Some(_)) => (INTERFACE, "NetworkInterfaceId", "networkInterfaceId"),
        (None, None) => return Err(missing("InstanceId")),
    };
    let target_id = cx.required(name)?;
    let target = cx.find(kind, &target_id)?;
    if kind == INSTANCE && !matches!(target["instanceState"]["name"].as_str(), Some("running" | "stopped")) {
        let message = format!("The instance '{target_id}' is not in a valid state for this operation.");
        return Err(bad("IncorrectInstanceState", message));
    }
    let vpc_id = target["vpcId"].as_str().unwrap_or_default().to_owned();
    if gateways::of_vpc(cx, &vpc_id).is_none() {
        let message = format!("Network {vpc_id} is not attached to any internet gateway");
        return Err(bad("Gateway.NotAttached", message));
    }
    let used = cx.every(ADDRESS_USE).find(|one| one["_address"] == id.as_str() || one[field] == target_id.as_str());
    if let Some(used) = used {
        let own = used["associationId"].as_str().unwrap_or_default().to_owned();
        if used["_address"] == id.as_str() && used[field] == target_id.as_str() {
            let fields = json!({"return": true, "associationId": own});
            return Ok(xml::response("AssociateAddress", &fields).about(own));
        }
        if cx.params.get("AllowReassociation") == Some("false") {
            return Err(bad("Resource.AlreadyAssociated", format!("resource {id} is already associated with {own}")));
        }
        drop_use(cx, &used);
    }
    let own = bind(cx, &id, &target, (field, &target_id), &vpc_id);
    let fields = json!({"return": true, "associationId": own});
    Ok(xml::response("AssociateAddress", &fields).about(own))
}

/// Points an address to something in a VPC.
pub fn bind(cx: &mut Cx<'_>, id: &str, target: &Value, (field, target_id): (&str, &str), vpc_id: &str) -> String {
    let own = new_id("eipassoc");
    let interface = match field {
        "networkInterfaceId" => json!(target_id),
        _ => target["networkInterfaceSet"][0]["networkInterfaceId"].clone(),
    };
    let mut used = json!({"associationId": own, "networkInterfaceId": interface, "instanceId": null,
        "privateIpAddress": target["privateIpAddress"], "_address": id, "_vpc": vpc_id});
    used[field] = json!(target_id);
    cx.put(ADDRESS_USE, &own, used);
    if field == "instanceId"
        && let Ok(address) = cx.find(ADDRESS, id)
    {
        show(cx, target_id, &address["publicIp"]);
    }
    own
}

/// What an instance shows as its public address.
fn show(cx: &mut Cx<'_>, instance_id: &str, public: &Value) {
    if let Ok(mut instance) = cx.find(INSTANCE, instance_id) {
        instance["ipAddress"] = public.clone();
        instance["_public"] = public.clone();
        cx.put(INSTANCE, instance_id, instance);
    }
}

fn drop_use(cx: &mut Cx<'_>, used: &Value) {
    if let Some(instance) = used["instanceId"].as_str() {
        show(cx, instance, &Value::Null);
    }
    cx.drop(ADDRESS_USE, used["associationId"].as_str().unwrap_or_default());
}

/// DisassociateAddress.
pub fn disassociate(cx: &mut Cx<'_>) -> Answer {
    let own = cx.required("AssociationId")?;
    let used = cx.find(ADDRESS_USE, &own)?;
    if used["_nat"].is_string() {
        return Err(bad("OperationNotPermitted", "You do not have permission to access the specified resource."));
    }
    drop_use(cx, &used);
    cx.done("DisassociateAddress", &own)
}

/// What pointed to something that goes points nowhere.
pub fn free(cx: &mut Cx<'_>, field: &str, target_id: &str) {
    let all: Vec<Value> = cx.every(ADDRESS_USE).filter(|one| one[field] == target_id).collect();
    for used in all {
        drop_use(cx, &used);
    }
}

/// An address that nothing uses yet.
pub fn unused(cx: &Cx<'_>, id: &str) -> Result<Value, Reply> {
    let address = cx.find(ADDRESS, id)?;
    match use_of(cx, id) {
        None => Ok(address),
        Some(_) => Err(bad("Resource.AlreadyAssociated", format!("Elastic IP address [{id}] is already associated"))),
    }
}
