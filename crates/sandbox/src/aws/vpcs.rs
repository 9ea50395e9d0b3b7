//! Owns EC2's VPCs, each with its default security group.

use super::{Answer, Cx, GROUP, OWNER, SUBNET, VPC, bad, describe, gateways, groups, new_id, routes, xml};
use crate::net::Range;
use serde_json::{Value, json};

/// CreateVpc.
pub fn create(cx: &mut Cx<'_>) -> Answer {
    let cidr = cx.required("CidrBlock")?;
    let range = Range::parse(&cidr).ok_or_else(|| {
        bad(
            "InvalidParameterValue",
            format!("Value ({cidr}) for parameter cidrBlock is invalid. This is not a valid CIDR block."),
        )
    })?;
    if !(16..=28).contains(&range.prefix) {
        return Err(bad("InvalidVpc.Range", format!("The CIDR '{cidr}' is invalid.")));
    }
    let tags = cx.tags_for("vpc")?;
    let id = new_id("vpc");
    let association = json!([{"cidrBlock": cidr, "associationId": new_id("vpc-cidr-assoc"), "cidrBlockState": {"state": "associated"}}]);
    let vpc = json!({
        "vpcId": id, "ownerId": OWNER, "state": "pending", "cidrBlock": cidr, "cidrBlockAssociationSet": association,
        "ipv6CidrBlockAssociationSet": [], "dhcpOptionsId": "dopt-0123456789abcdef0", "tagSet": tags,
        "instanceTenancy": cx.params.get("InstanceTenancy").unwrap_or("default"), "isDefault": false,
        "_dns_support": true, "_dns_hostnames": false,
        "_then": [{"at": cx.now + cx.world.action_ms(), "set": {"state": "available"}}],
    });
    cx.put(VPC, &id, vpc.clone());
    groups::create_default(cx, &id);
    routes::create_main(cx, &id);
    Ok(xml::response("CreateVpc", &json!({ "vpc": vpc })).about(id))
}

/// DescribeVpcs.
pub fn describe(cx: &mut Cx<'_>) -> Answer {
    describe::list(cx, "DescribeVpcs", "vpcSet", VPC, "VpcId")
}

/// ModifyVpcAttribute: one attribute a call, as EC2 wants it.
pub fn modify(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("VpcId")?;
    let mut vpc = cx.find(VPC, &id)?;
    let given: Vec<(&str, &str)> =
        [("EnableDnsSupport.Value", "_dns_support"), ("EnableDnsHostnames.Value", "_dns_hostnames")]
            .into_iter()
            .filter(|(name, _)| cx.params.get(name).is_some())
            .collect();
    let [(name, field)] = given.as_slice() else {
        return Err(bad("InvalidParameterCombination", "Exactly one attribute must be specified"));
    };
    vpc[*field] = json!(cx.params.get(name) == Some("true"));
    cx.put(VPC, &id, vpc);
    cx.done("ModifyVpcAttribute", &id)
}

/// DescribeVpcAttribute.
pub fn attribute(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("VpcId")?;
    let vpc = cx.find(VPC, &id)?;
    let (name, value) = match cx.required("Attribute")?.as_str() {
        "enableDnsSupport" => ("enableDnsSupport", vpc["_dns_support"].clone()),
        "enableDnsHostnames" => ("enableDnsHostnames", vpc["_dns_hostnames"].clone()),
        "enableNetworkAddressUsageMetrics" => ("enableNetworkAddressUsageMetrics", json!(false)),
        other => {
            return Err(bad("InvalidParameterValue", format!("Value ({other}) for parameter attribute is invalid.")));
        }
    };
    let mut fields = json!({"vpcId": id});
    fields[name] = json!({ "value": value });
    Ok(xml::response("DescribeVpcAttribute", &fields))
}

/// DeleteVpc: refused while anything but the default security group is in it.
pub fn delete(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("VpcId")?;
    cx.find(VPC, &id)?;
    let inside = |value: &Value| value["vpcId"] == id.as_str();
    let mut groups = cx.every(GROUP).filter(|group| inside(group));
    let held = cx.every(SUBNET).any(|subnet| inside(&subnet)) || groups.any(|group| group["groupName"] != "default");
    if held || gateways::of_vpc(cx, &id).is_some() || routes::own_tables(cx, &id) {
        return Err(bad("DependencyViolation", format!("The vpc '{id}' has dependencies and cannot be deleted.")));
    }
    drop(groups);
    let default: Vec<Value> = cx.every(GROUP).filter(inside).collect();
    for group in default {
        groups::drop_group(cx, group["groupId"].as_str().unwrap_or_default());
    }
    routes::drop_main(cx, &id);
    cx.drop(VPC, &id);
    cx.done("DeleteVpc", &id)
}
