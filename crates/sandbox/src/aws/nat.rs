//! Owns EC2's NAT gateways.

use super::kinds::{ADDRESS_USE, NAT};
use super::{Answer, Cx, SUBNET, addresses, bad, describe, gateways, missing, new_id, subnets, time, tokens, xml};
use serde_json::{Value, json};

/// A deleted one is still shown for this long.
const REMEMBERED_MS: i64 = 60 * 60 * 1000;

/// CreateNatGateway. A public one in a VPC without an internet gateway is made and fails.
pub fn create(cx: &mut Cx<'_>) -> Answer {
    let (token, before) = tokens::read(cx)?;
    if let Some(nat) = before.first().and_then(|id| cx.find(NAT, id).ok()) {
        return Ok(xml::response("CreateNatGateway", &json!({ "natGateway": nat })));
    }
    let subnet = cx.find(SUBNET, &cx.required("SubnetId")?)?;
    let kind = cx.params.get("ConnectivityType").unwrap_or("public").to_owned();
    let allocation = cx.params.get("AllocationId").map(str::to_owned);
    let address = match (kind.as_str(), &allocation) {
        ("public", None) => return Err(missing("AllocationId")),
        ("public", Some(id)) => Some(addresses::unused(cx, id)?),
        ("private", None) => None,
        ("private", Some(_)) => {
            let message = "AllocationId is not supported for private NAT gateways";
            return Err(bad("InvalidParameterCombination", message));
        }
        _ => {
            return Err(bad(
                "InvalidParameterValue",
                format!("Value ({kind}) for parameter connectivityType is invalid."),
            ));
        }
    };
    let private = subnets::addresses(cx, &subnet, 1, cx.params.get("PrivateIpAddress"))?[0].to_string();
    let tags = cx.tags_for("natgateway")?;
    let vpc_id = subnet["vpcId"].as_str().unwrap_or_default().to_owned();
    let (id, interface, until) = (new_id("nat"), new_id("eni"), cx.then());
    let fails = kind == "public" && gateways::of_vpc(cx, &vpc_id).is_none();
    let outcome = match fails {
        true => json!({"state": "failed", "failureCode": "Gateway.NotAttached",
            "failureMessage": format!("Network {vpc_id} has no Internet gateway attached")}),
        false => json!({"state": "available"}),
    };
    let nat = json!({"natGatewayId": id, "subnetId": subnet["subnetId"], "vpcId": vpc_id, "state": "pending",
        "createTime": time(cx.now), "connectivityType": kind, "tagSet": tags, "privateIpAddress": private,
        "natGatewayAddressSet": [{"allocationId": allocation, "networkInterfaceId": interface, "privateIp": private,
        "publicIp": address.as_ref().map(|one| one["publicIp"].clone()), "isPrimary": true, "status": "succeeded"}],
        "_then": [{"at": until, "set": outcome}]});
    if let (Some(allocation), false) = (&allocation, fails) {
        let own = addresses::bind(cx, allocation, &nat, ("networkInterfaceId", &interface), &vpc_id);
        if let Ok(mut used) = cx.find(ADDRESS_USE, &own) {
            used["_nat"] = json!(id);
            // It is the gateway's, not something that somebody made.
            used["_builtin"] = json!(true);
            cx.put(ADDRESS_USE, &own, used);
        }
    }
    cx.put(NAT, &id, nat.clone());
    tokens::keep(cx, token, &[&id]);
    Ok(xml::response("CreateNatGateway", &json!({ "natGateway": nat })).about(id))
}

/// DescribeNatGateways, whose filters are called `Filter` and whose ids are called `NatGatewayId`.
pub fn describe(cx: &mut Cx<'_>) -> Answer {
    let all = describe::chosen(cx, NAT, "NatGatewayId")?;
    describe::answer(cx, "DescribeNatGateways", "natGatewaySet", "NatGatewayId", all)
}

/// Those of a subnet that are not deleted.
pub fn of_subnet<'a>(cx: &'a Cx<'_>, subnet_id: &'a Value) -> impl Iterator<Item = Value> + use<'a> {
    let alive = |nat: &Value| !matches!(nat["state"].as_str(), Some("deleted" | "failed"));
    cx.every(NAT).filter(move |nat| nat["subnetId"] == *subnet_id && alive(nat))
}

/// DeleteNatGateway: its address is free when it is gone.
pub fn delete(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("NatGatewayId")?;
    let mut nat = cx.find(NAT, &id)?;
    if !matches!(nat["state"].as_str(), Some("deleting" | "deleted")) {
        let until = cx.then();
        nat["state"] = json!("deleting");
        nat["_then"] = json!([{"at": until, "set": {"state": "deleted", "deleteTime": time(until)}}]);
        nat["_gone_at"] = json!(until + REMEMBERED_MS);
        cx.put(NAT, &id, nat);
        let uses: Vec<Value> = cx.every(ADDRESS_USE).filter(|one| one["_nat"] == id.as_str()).collect();
        for mut used in uses {
            let own = used["associationId"].as_str().unwrap_or_default().to_owned();
            used["_gone_at"] = json!(until);
            cx.put(ADDRESS_USE, &own, used);
        }
    }
    Ok(xml::response("DeleteNatGateway", &json!({ "natGatewayId": id })).about(id))
}
