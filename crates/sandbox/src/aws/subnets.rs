//! Owns EC2's subnets and the addresses in them.

use super::kinds::INTERFACE;
use super::{Answer, Cx, INSTANCE, OWNER, SUBNET, VPC, bad, catalog, describe, nat, new_id, routes, xml};
use crate::call::Reply;
use crate::net::Range;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::Ipv4Addr;

/// CreateSubnet.
pub fn create(cx: &mut Cx<'_>) -> Answer {
    let vpc_id = cx.required("VpcId")?;
    let vpc = cx.find(VPC, &vpc_id)?;
    let cidr = cx.required("CidrBlock")?;
    let range = Range::parse(&cidr).ok_or_else(|| {
        bad(
            "InvalidParameterValue",
            format!("Value ({cidr}) for parameter cidrBlock is invalid. This is not a valid CIDR block."),
        )
    })?;
    let whole = vpc["cidrBlock"].as_str().and_then(Range::parse);
    if !(16..=28).contains(&range.prefix) || !whole.is_some_and(|whole| whole.covers(range)) {
        return Err(bad("InvalidSubnet.Range", format!("The CIDR '{cidr}' is invalid.")));
    }
    let mut others = cx.every(SUBNET).filter(|subnet| subnet["vpcId"] == vpc_id.as_str());
    if others
        .any(|subnet| subnet["cidrBlock"].as_str().and_then(Range::parse).is_some_and(|other| other.overlaps(range)))
    {
        return Err(bad("InvalidSubnet.Conflict", format!("The CIDR '{cidr}' conflicts with another subnet")));
    }
    drop(others);
    let zones = catalog::zone_names(&cx.region);
    let zone = match cx.params.get("AvailabilityZone") {
        None => zones[0].clone(),
        Some(wanted) if zones.iter().any(|zone| zone == wanted) => wanted.to_owned(),
        Some(wanted) => {
            let message = format!("Value ({wanted}) for parameter availabilityZone is invalid.");
            return Err(bad("InvalidParameterValue", message));
        }
    };
    let tags = cx.tags_for("subnet")?;
    let id = new_id("subnet");
    let subnet = json!({
        "subnetId": id, "subnetArn": format!("arn:aws:ec2:{}:{OWNER}:subnet/{id}", cx.region), "state": "pending",
        "ownerId": OWNER, "vpcId": vpc_id, "cidrBlock": cidr, "ipv6CidrBlockAssociationSet": [],
        "availableIpAddressCount": range.size().saturating_sub(5), "availabilityZone": zone,
        "availabilityZoneId": catalog::zone_id(&zone), "defaultForAz": false, "mapPublicIpOnLaunch": false,
        "assignIpv6AddressOnCreation": false, "tagSet": tags,
        "_then": [{"at": cx.now + cx.world.action_ms(), "set": {"state": "available"}}],
    });
    cx.put(SUBNET, &id, subnet.clone());
    Ok(xml::response("CreateSubnet", &json!({ "subnet": subnet })).about(id))
}

/// Every private address in use in a subnet.
fn taken(cx: &Cx<'_>, id: &Value) -> HashSet<u32> {
    let instances = cx
        .every(INSTANCE)
        .filter(|instance| instance["subnetId"] == *id && instance["instanceState"]["name"] != "terminated");
    let interfaces = cx.every(INTERFACE).filter(|interface| interface["subnetId"] == *id);
    instances
        .chain(interfaces)
        .chain(nat::of_subnet(cx, id))
        .filter_map(|instance| instance["privateIpAddress"].as_str()?.parse::<Ipv4Addr>().ok())
        .map(u32::from)
        .collect()
}

/// Free private addresses for new instances; the first four and the last of a subnet are the vendor's.
pub fn addresses(cx: &Cx<'_>, subnet: &Value, count: usize, wanted: Option<&str>) -> Result<Vec<Ipv4Addr>, Reply> {
    let range = subnet["cidrBlock"].as_str().and_then(Range::parse).unwrap_or(Range { base: 0, prefix: 32 });
    let mut used = taken(cx, &subnet["subnetId"]);
    if let Some(text) = wanted {
        let address: Option<Ipv4Addr> = text.parse().ok().filter(|address| range.has(u32::from(*address)));
        let address = address.ok_or_else(|| {
            bad("InvalidParameterValue", format!("Address {text} does not fall within the subnet's address range"))
        })?;
        if used.contains(&u32::from(address)) {
            return Err(bad("InvalidIPAddress.InUse", format!("Address {text} is in use.")));
        }
        return Ok(vec![address]);
    }
    let mut found = Vec::new();
    let mut first = 4;
    while found.len() < count {
        let address = range.free_address(first, 1, |address| used.contains(&address)).ok_or_else(|| {
            bad("InsufficientFreeAddressesInSubnet", "There are not enough free addresses in the subnet.")
        })?;
        used.insert(u32::from(address));
        first = u32::from(address) - range.base;
        found.push(address);
    }
    Ok(found)
}

/// DescribeSubnets.
pub fn describe(cx: &mut Cx<'_>) -> Answer {
    let mut found = describe::select(cx, SUBNET, "SubnetId")?;
    for subnet in &mut found {
        let used = taken(cx, &subnet["subnetId"]).len() as u64;
        subnet["availableIpAddressCount"] =
            json!(subnet["availableIpAddressCount"].as_u64().unwrap_or(0).saturating_sub(used));
    }
    let (shown, token) = describe::page(cx, "SubnetId", found)?;
    Ok(xml::response("DescribeSubnets", &describe::body("subnetSet", shown, token)))
}

/// ModifySubnetAttribute.
pub fn modify(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("SubnetId")?;
    let mut subnet = cx.find(SUBNET, &id)?;
    match cx.params.get("MapPublicIpOnLaunch.Value") {
        Some(value) => subnet["mapPublicIpOnLaunch"] = json!(value == "true"),
        None => return Err(bad("InvalidParameterCombination", "Exactly one attribute must be specified")),
    }
    cx.put(SUBNET, &id, subnet);
    cx.done("ModifySubnetAttribute", &id)
}

/// DeleteSubnet: refused while something with an address is in it.
pub fn delete(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("SubnetId")?;
    let subnet = cx.find(SUBNET, &id)?;
    if !taken(cx, &subnet["subnetId"]).is_empty() {
        return Err(bad("DependencyViolation", format!("The subnet '{id}' has dependencies and cannot be deleted.")));
    }
    routes::drop_subnet(cx, &id);
    cx.drop(SUBNET, &id);
    cx.done("DeleteSubnet", &id)
}
