//! Owns EC2's route tables, the routes in them and the subnets that use them.

use super::kinds::{GATEWAY, INTERFACE, NAT, ROUTE, TABLE, TABLE_USE};
use super::{Answer, Cx, INSTANCE, OWNER, SUBNET, VPC, bad, describe, gateways, missing, new_id, xml};
use crate::call::Reply;
use crate::net::Range;
use serde_json::{Value, json};

/// The table that every VPC comes with.
pub fn create_main(cx: &mut Cx<'_>, vpc_id: &str) {
    let id = new_id("rtb");
    cx.put(TABLE, &id, json!({"routeTableId": id, "vpcId": vpc_id, "ownerId": OWNER, "tagSet": [], "_builtin": true}));
    let own = new_id("rtbassoc");
    let main = json!({"routeTableAssociationId": own, "routeTableId": id, "main": true,
        "associationState": {"state": "associated"}, "_builtin": true});
    cx.put(TABLE_USE, &own, main);
}

/// Whether anything but the main table routes in a VPC.
pub fn own_tables(cx: &Cx<'_>, vpc_id: &str) -> bool {
    cx.every(TABLE).any(|table| table["vpcId"] == vpc_id && table["_builtin"] != true)
}

/// Takes away what came with a VPC.
pub fn drop_main(cx: &mut Cx<'_>, vpc_id: &str) {
    let tables: Vec<Value> = cx.every(TABLE).filter(|table| table["vpcId"] == vpc_id).collect();
    for table in tables {
        forget(cx, table["routeTableId"].as_str().unwrap_or_default());
    }
}

/// Takes a table, its routes and its associations away.
fn forget(cx: &mut Cx<'_>, id: &str) {
    let uses: Vec<Value> = cx.every(TABLE_USE).filter(|one| one["routeTableId"] == id).collect();
    for one in uses {
        cx.drop(TABLE_USE, one["routeTableAssociationId"].as_str().unwrap_or_default());
    }
    let routes: Vec<Value> = cx.every(ROUTE).filter(|route| route["_table"] == id).collect();
    for route in routes {
        cx.drop(ROUTE, &key(id, route["destinationCidrBlock"].as_str().unwrap_or_default()));
    }
    cx.drop(TABLE, id);
}

/// A subnet that goes takes its association with it.
pub fn drop_subnet(cx: &mut Cx<'_>, subnet_id: &str) {
    let uses: Vec<Value> = cx.every(TABLE_USE).filter(|one| one["subnetId"] == subnet_id).collect();
    for one in uses {
        cx.drop(TABLE_USE, one["routeTableAssociationId"].as_str().unwrap_or_default());
    }
}

fn key(table: &str, destination: &str) -> String {
    format!("{table},{destination}")
}

/// A table with its routes and associations.
fn whole(cx: &Cx<'_>, mut table: Value) -> Value {
    let id = table["routeTableId"].as_str().unwrap_or_default().to_owned();
    let range = table["vpcId"].as_str().and_then(|vpc| cx.find(VPC, vpc).ok()).map(|vpc| vpc["cidrBlock"].clone());
    let mut routes = vec![json!({"destinationCidrBlock": range, "gatewayId": "local", "state": "active",
        "origin": "CreateRouteTable"})];
    for mut route in cx.every(ROUTE).filter(|route| route["_table"] == id.as_str()) {
        // Whose target is gone leads nowhere.
        let gone = |field: &str, kind| route[field].as_str().is_some_and(|id| cx.find(kind, id).is_err());
        let lost = gone("gatewayId", GATEWAY) || gone("natGatewayId", NAT) || gone("networkInterfaceId", INTERFACE);
        route["state"] = json!(if lost { "blackhole" } else { "active" });
        routes.push(route);
    }
    table["routeSet"] = Value::Array(routes);
    table["associationSet"] = cx.every(TABLE_USE).filter(|one| one["routeTableId"] == id.as_str()).collect();
    table["propagatingVgwSet"] = json!([]);
    table
}

/// CreateRouteTable.
pub fn create(cx: &mut Cx<'_>) -> Answer {
    let vpc_id = cx.required("VpcId")?;
    cx.find(VPC, &vpc_id)?;
    let tags = cx.tags_for("route-table")?;
    let id = new_id("rtb");
    let table = json!({"routeTableId": id, "vpcId": vpc_id, "ownerId": OWNER, "tagSet": tags});
    cx.put(TABLE, &id, table.clone());
    let table = whole(cx, table);
    Ok(xml::response("CreateRouteTable", &json!({ "routeTable": table })).about(id))
}

/// DescribeRouteTables.
pub fn describe(cx: &mut Cx<'_>) -> Answer {
    let chosen = describe::chosen(cx, TABLE, "RouteTableId")?;
    let all = chosen.into_iter().map(|table| whole(cx, table)).collect();
    describe::answer(cx, "DescribeRouteTables", "routeTableSet", "RouteTableId", all)
}

/// DeleteRouteTable: refused while a subnet uses it, and for the main one.
pub fn delete(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("RouteTableId")?;
    cx.find(TABLE, &id)?;
    if cx.every(TABLE_USE).any(|one| one["routeTableId"] == id.as_str()) {
        let message = format!("The routeTable '{id}' has dependencies and cannot be deleted.");
        return Err(bad("DependencyViolation", message));
    }
    forget(cx, &id);
    cx.done("DeleteRouteTable", &id)
}

/// AssociateRouteTable, with a subnet.
pub fn associate(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("RouteTableId")?;
    let subnet_id = cx.required("SubnetId")?;
    let table = cx.find(TABLE, &id)?;
    let subnet = cx.find(SUBNET, &subnet_id)?;
    if table["vpcId"] != subnet["vpcId"] {
        let message = format!("Route table {id} and subnet {subnet_id} belong to different networks");
        return Err(bad("InvalidParameterValue", message));
    }
    if let Some(other) = cx.every(TABLE_USE).find(|one| one["subnetId"] == subnet_id.as_str()) {
        let message = format!(
            "the specified association for route table {id} conflicts with an existing association {}",
            other["routeTableAssociationId"].as_str().unwrap_or_default()
        );
        return Err(bad("Resource.AlreadyAssociated", message));
    }
    let own = used(cx, &id, json!(subnet_id));
    let fields = json!({"associationId": own, "associationState": {"state": "associated"}});
    Ok(xml::response("AssociateRouteTable", &fields).about(own))
}

fn used(cx: &mut Cx<'_>, table: &str, subnet: Value) -> String {
    let own = new_id("rtbassoc");
    let one = json!({"routeTableAssociationId": own, "routeTableId": table, "main": false, "subnetId": subnet,
        "associationState": {"state": "associated"}});
    cx.put(TABLE_USE, &own, one);
    own
}

/// DisassociateRouteTable; the main association stays.
pub fn disassociate(cx: &mut Cx<'_>) -> Answer {
    let own = cx.required("AssociationId")?;
    if cx.find(TABLE_USE, &own)?["main"] == true {
        return Err(bad(
            "InvalidParameterValue",
            format!("cannot disassociate the main route table association {own}"),
        ));
    }
    cx.drop(TABLE_USE, &own);
    cx.done("DisassociateRouteTable", &own)
}

/// ReplaceRouteTableAssociation: the new one has an id of its own.
pub fn reassociate(cx: &mut Cx<'_>) -> Answer {
    let own = cx.required("AssociationId")?;
    let id = cx.required("RouteTableId")?;
    let before = cx.find(TABLE_USE, &own)?;
    let (table, old) = (cx.find(TABLE, &id)?, before["routeTableId"].as_str().unwrap_or_default().to_owned());
    if before["main"] == true || cx.find(TABLE, &old)?["vpcId"] != table["vpcId"] {
        return Err(bad("InvalidParameterValue", format!("the association {own} cannot be moved to {id}")));
    }
    cx.drop(TABLE_USE, &own);
    let new = used(cx, &id, before["subnetId"].clone());
    let fields = json!({"newAssociationId": new, "associationState": {"state": "associated"}});
    Ok(xml::response("ReplaceRouteTableAssociation", &fields).about(new))
}

/// The one target of a route that a request names, as it is shown.
fn target(cx: &Cx<'_>, vpc: &Value) -> Result<Value, Reply> {
    let targets = ["GatewayId", "NatGatewayId", "NetworkInterfaceId", "InstanceId"];
    let given: Vec<(&str, &str)> =
        targets.iter().filter_map(|name| cx.params.get(name).map(|id| (*name, id))).collect();
    let [(name, id)] = given.as_slice() else {
        return match given.is_empty() {
            true => Err(missing("GatewayId")),
            false => Err(bad("InvalidParameterCombination", "Exactly one target of a route must be specified")),
        };
    };
    let vpc_id = vpc.as_str().unwrap_or_default();
    let (field, found) = match *name {
        "GatewayId" => {
            let absent = |_| bad("InvalidGatewayID.NotFound", format!("The gateway ID '{id}' does not exist"));
            cx.find(GATEWAY, id).map_err(absent)?;
            let attached = gateways::of_vpc(cx, vpc_id).filter(|one| one["internetGatewayId"] == *id);
            ("gatewayId", attached.map(|_| vpc.clone()).unwrap_or_default())
        }
        "NatGatewayId" => ("natGatewayId", cx.find(NAT, id)?["vpcId"].clone()),
        "NetworkInterfaceId" => ("networkInterfaceId", cx.find(INTERFACE, id)?["vpcId"].clone()),
        _ => ("instanceId", cx.find(INSTANCE, id)?["vpcId"].clone()),
    };
    if found != *vpc {
        let message = format!("route table and network gateway {id} belong to different networks");
        return Err(bad("InvalidParameterValue", message));
    }
    Ok(json!({ field: id }))
}

/// The table and the destination that a request names.
fn place(cx: &Cx<'_>) -> Result<(Value, String, String), Reply> {
    let id = cx.required("RouteTableId")?;
    let table = cx.find(TABLE, &id)?;
    let text = cx.required("DestinationCidrBlock")?;
    let range = Range::parse(&text).ok_or_else(|| {
        let message =
            format!("Value ({text}) for parameter destinationCidrBlock is invalid. This is not a valid CIDR block.");
        bad("InvalidParameterValue", message)
    })?;
    // Bits beyond the prefix are cut off.
    let base = std::net::Ipv4Addr::from(range.base);
    Ok((table, id, format!("{base}/{}", range.prefix)))
}

fn put_route(cx: &mut Cx<'_>, action: &str, there: bool) -> Answer {
    let (table, id, destination) = place(cx)?;
    let own = key(&id, &destination);
    let known = cx.world.store.get(&cx.scope, ROUTE.name, &own, cx.now).is_some();
    let local = cx.find(VPC, table["vpcId"].as_str().unwrap_or_default())?["cidrBlock"] == destination.as_str();
    if (known || local) && !there {
        return Err(bad("RouteAlreadyExists", format!("The route identified by {destination} already exists.")));
    }
    if !known && there {
        let message =
            format!("There is no route defined for '{destination}' in the route table. Use CreateRoute instead.");
        return Err(bad("InvalidParameterValue", message));
    }
    let mut route = target(cx, &table["vpcId"])?;
    route["destinationCidrBlock"] = json!(destination);
    route["origin"] = json!("CreateRoute");
    route["_table"] = json!(id);
    cx.put(ROUTE, &own, route);
    cx.done(action, &own)
}

/// CreateRoute.
pub fn add(cx: &mut Cx<'_>) -> Answer {
    put_route(cx, "CreateRoute", false)
}

/// ReplaceRoute.
pub fn replace(cx: &mut Cx<'_>) -> Answer {
    put_route(cx, "ReplaceRoute", true)
}

/// DeleteRoute.
pub fn remove(cx: &mut Cx<'_>) -> Answer {
    let (_, id, destination) = place(cx)?;
    let own = key(&id, &destination);
    if !cx.world.store.remove(&cx.scope, ROUTE.name, &own) {
        let message = format!("no route with destination-cidr-block {destination} in route table {id}");
        return Err(bad("InvalidRoute.NotFound", message));
    }
    cx.done("DeleteRoute", &own)
}
