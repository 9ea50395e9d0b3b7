//! Owns RunInstances: checks, deduplication by ClientToken, and the new instances.

use super::{
    Answer, Cx, GROUP, INSTANCE, KEY, OWNER, Params, SUBNET, addresses, bad, catalog, groups, instances, keys, missing,
    new_id, subnets, time, tokens, volumes, xml,
};
use crate::call::Reply;
use serde_json::{Value, json};

/// RunInstances.
pub fn run(cx: &mut Cx<'_>) -> Answer {
    let (token, before) = tokens::read(cx)?;
    let again = before.iter().filter_map(|id| cx.find(INSTANCE, id).ok());
    let again: Vec<Value> = again.map(|instance| volumes::mapped(cx, instance)).collect();
    // The token outlives its instances; once even their traces are gone, it is free again.
    if !again.is_empty() {
        return Ok(answer(&again));
    }
    let made = launch(cx, token.as_ref().map(|token| token.text.as_str()))?;
    let ids: Vec<&str> = made.iter().filter_map(|instance| instance["instanceId"].as_str()).collect();
    tokens::keep(cx, token, &ids);
    Ok(answer(&made))
}

fn answer(made: &[Value]) -> Reply {
    let fields =
        json!({"reservationId": made[0]["_reservation"], "ownerId": OWNER, "groupSet": [], "instancesSet": made});
    let ids: Vec<&str> = made.iter().filter_map(|instance| instance["instanceId"].as_str()).collect();
    xml::response("RunInstances", &fields).about(ids.join(","))
}

fn count(cx: &Cx<'_>, name: &str) -> Result<usize, Reply> {
    let text = cx.required(name)?;
    let bad_count = || bad("InvalidParameterValue", format!("Value ({text}) for parameter {name} is invalid."));
    text.parse::<usize>().ok().filter(|count| (1..=1000).contains(count)).ok_or_else(bad_count)
}

fn check_image(id: &str) -> Result<(), Reply> {
    let hex = id.strip_prefix("ami-").unwrap_or_default();
    if !(8..=17).contains(&hex.len()) || !hex.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)) {
        return Err(bad("InvalidAMIID.Malformed", format!("Invalid id: \"{id}\" (expecting \"ami-...\")")));
    }
    // Any well-formed id is taken for an image: what images there are differs from region to region and day to day.
    Ok(())
}

/// Where and how the instances join the network: of the request, or of its first network interface.
struct Place {
    subnet: Value,
    groups: Vec<Value>,
    public: bool,
}

fn place(cx: &Cx<'_>) -> Result<Place, Reply> {
    let interfaces = cx.params.list("NetworkInterface");
    let empty = Params::default();
    let interface = interfaces.first().unwrap_or(&empty);
    let subnet_id = cx.params.get("SubnetId").or_else(|| interface.get("SubnetId"));
    let subnet_id = subnet_id
        .ok_or_else(|| bad("MissingInput", "No subnets found for the default VPC. Please specify a subnet."))?;
    let subnet = cx.find(SUBNET, subnet_id)?;
    let vpc_id = subnet["vpcId"].as_str().unwrap_or_default().to_owned();
    let mut ids = cx.params.values("SecurityGroupId");
    ids.extend(interface.values("SecurityGroupId"));
    let mut found = Vec::new();
    for id in ids {
        let group = cx.find(GROUP, &id)?;
        if group["vpcId"] != vpc_id.as_str() {
            let message = format!("Security group {id} and subnet {subnet_id} belong to different networks.");
            return Err(bad("InvalidParameter", message));
        }
        found.push(group);
    }
    for name in cx.params.values("SecurityGroup") {
        let absent = || bad(GROUP.not_found, format!("The security group '{name}' does not exist in VPC '{vpc_id}'"));
        found.push(groups::by_name(cx, &name, &vpc_id).ok_or_else(absent)?);
    }
    if found.is_empty() {
        found.extend(groups::by_name(cx, "default", &vpc_id));
    }
    let public = match interface.get("AssociatePublicIpAddress") {
        Some(text) => text == "true",
        None => subnet["mapPublicIpOnLaunch"] == true,
    };
    let groups =
        found.iter().map(|group| json!({"groupId": group["groupId"], "groupName": group["groupName"]})).collect();
    Ok(Place { subnet, groups, public })
}

fn launch(cx: &mut Cx<'_>, token: Option<&str>) -> Result<Vec<Value>, Reply> {
    let image = cx.params.get("ImageId").ok_or_else(|| missing("ImageId"))?.to_owned();
    check_image(&image)?;
    let (min, max) = (count(cx, "MinCount")?, count(cx, "MaxCount")?);
    if min > max {
        return Err(bad("InvalidParameterValue", "MinCount must not exceed MaxCount"));
    }
    let kind = cx.params.get("InstanceType").unwrap_or("m1.small").to_owned();
    let kind = catalog::instance_type(&kind)
        .ok_or_else(|| bad("InvalidParameterValue", format!("Invalid value '{kind}' for InstanceType.")))?;
    let key = cx.params.get("KeyName").map(str::to_owned);
    if let Some(name) = &key
        && keys::by_name(cx, name).is_none()
    {
        return Err(bad(KEY.not_found, format!("The key pair '{name}' does not exist")));
    }
    let user_data = cx.params.get("UserData").map(str::to_owned);
    if let Some(text) = &user_data {
        use base64::Engine;
        match base64::engine::general_purpose::STANDARD.decode(text.trim()) {
            Ok(bytes) if bytes.len() <= 16 << 10 => {}
            Ok(_) => return Err(bad("InvalidParameterValue", "User data is limited to 16384 bytes")),
            Err(_) => return Err(bad("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.")),
        }
    }
    let place = place(cx)?;
    let addresses = subnets::addresses(cx, &place.subnet, max, cx.params.get("PrivateIpAddress"))?;
    let tags = cx.tags_for("instance")?;
    let reservation = new_id("r");
    let protected = cx.params.get("DisableApiTermination") == Some("true");
    let until = cx.now + cx.world.action_ms();
    let mut made = Vec::new();
    for (index, private) in addresses.iter().enumerate() {
        let id = new_id("i");
        let dashed = private.to_string().replace('.', "-");
        let public = place.public.then(|| addresses::fresh(cx));
        let running =
            json!({"instanceState": instances::state("running"), "ipAddress": public.map(|ip| ip.to_string())});
        let subnet = &place.subnet;
        let interface = json!({"networkInterfaceId": new_id("eni"), "subnetId": subnet["subnetId"], "vpcId": subnet["vpcId"],
            "ownerId": OWNER, "status": "in-use", "privateIpAddress": private.to_string(), "sourceDestCheck": true,
            "groupSet": place.groups, "attachment": {"attachmentId": new_id("eni-attach"), "deviceIndex": 0,
            "status": "attached", "attachTime": time(cx.now), "deleteOnTermination": true},
            "privateIpAddressesSet": [{"privateIpAddress": private.to_string(), "primary": true}]});
        let instance = json!({
            "instanceId": id, "imageId": image, "instanceState": instances::state("pending"),
            "privateDnsName": format!("ip-{dashed}.{}.compute.internal", cx.region), "dnsName": "", "reason": "",
            "keyName": key, "amiLaunchIndex": index, "productCodes": [], "instanceType": kind["instanceType"],
            "launchTime": time(cx.now), "placement": {"availabilityZone": subnet["availabilityZone"], "groupName": "", "tenancy": "default"},
            "monitoring": {"state": if cx.params.get("Monitoring.Enabled") == Some("true") { "enabled" } else { "disabled" }},
            "subnetId": subnet["subnetId"], "vpcId": subnet["vpcId"], "privateIpAddress": private.to_string(),
            "sourceDestCheck": true, "groupSet": place.groups, "architecture": kind["_architecture"], "rootDeviceType": "ebs",
            "rootDeviceName": volumes::ROOT, "virtualizationType": "hvm",
            "clientToken": token.unwrap_or_default(), "tagSet": tags, "hypervisor": "xen", "networkInterfaceSet": [interface],
            "ebsOptimized": cx.params.get("EbsOptimized") == Some("true"), "enaSupport": true,
            "_reservation": reservation, "_user_data": user_data, "_protected": protected,
            "_public": public.map(|ip| ip.to_string()), "_then": [{"at": until, "set": running}],
        });
        cx.put(INSTANCE, &id, instance.clone());
        volumes::root(cx, &instance)?;
        made.push(volumes::mapped(cx, instance));
    }
    Ok(made)
}
