//! Owns what EC2 offers and nobody makes: regions, zones, images and instance types.

use super::{Answer, Cx, bad, describe, xml};
use serde_json::{Value, json};

const REGIONS: &[&str] = &[
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// Name, vCPUs, memory in MiB, architecture.
const TYPES: &[(&str, u32, u32, &str)] = &[
    ("t2.micro", 1, 1024, "x86_64"),
    ("t2.small", 1, 2048, "x86_64"),
    ("t3.nano", 2, 512, "x86_64"),
    ("t3.micro", 2, 1024, "x86_64"),
    ("t3.small", 2, 2048, "x86_64"),
    ("t3.medium", 2, 4096, "x86_64"),
    ("t3.large", 2, 8192, "x86_64"),
    ("t3.xlarge", 4, 16384, "x86_64"),
    ("t4g.micro", 2, 1024, "arm64"),
    ("t4g.small", 2, 2048, "arm64"),
    ("t4g.medium", 2, 4096, "arm64"),
    ("m1.small", 1, 1740, "x86_64"),
    ("m5.large", 2, 8192, "x86_64"),
    ("m5.xlarge", 4, 16384, "x86_64"),
    ("m5.2xlarge", 8, 32768, "x86_64"),
    ("m6i.large", 2, 8192, "x86_64"),
    ("m7g.large", 2, 8192, "arm64"),
    ("c5.large", 2, 4096, "x86_64"),
    ("c5.xlarge", 4, 8192, "x86_64"),
    ("r5.large", 2, 16384, "x86_64"),
];

/// Id, name, description, architecture.
const IMAGES: &[(&str, &str, &str, &str)] = &[
    ("ami-0fedcba9876543210", "al2023-ami-2023.5.20241001.1-kernel-6.1-x86_64", "Amazon Linux 2023 AMI", "x86_64"),
    ("ami-0abcdef1234567890", "al2023-ami-2023.6.20250303.0-kernel-6.1-x86_64", "Amazon Linux 2023 AMI", "x86_64"),
    ("ami-0a1b2c3d4e5f60718", "debian-12-amd64-20250316-2053", "Debian 12 (20250316-2053)", "x86_64"),
    ("ami-0b1c2d3e4f5061728", "debian-12-arm64-20250316-2053", "Debian 12 (20250316-2053)", "arm64"),
    (
        "ami-0c1d2e3f405162738",
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20250305",
        "Ubuntu 24.04 LTS",
        "x86_64",
    ),
];

/// The zones of a region.
pub fn zone_names(region: &str) -> [String; 3] {
    ["a", "b", "c"].map(|letter| format!("{region}{letter}"))
}

/// The id of a zone, which is the same for every account.
pub fn zone_id(zone: &str) -> String {
    let (region, letter) = zone.split_at(zone.len().saturating_sub(1));
    let short: String = region
        .split('-')
        .map(|part| part.chars().take(if part.len() > 5 { 1 } else { 2 }).collect::<String>())
        .collect();
    let number = letter.bytes().next().map_or(1, |byte| byte.saturating_sub(b'a') + 1);
    format!("{short}-az{number}")
}

/// The instance type of that name.
pub fn instance_type(name: &str) -> Option<Value> {
    TYPES.iter().find(|(known, ..)| *known == name).map(|(name, cpus, memory, architecture)| {
        json!({"instanceType": name, "currentGeneration": !name.starts_with("m1"), "freeTierEligible": *name == "t3.micro",
            "bareMetal": false, "hypervisor": "nitro", "processorInfo": {"supportedArchitectures": [architecture]},
            "vCpuInfo": {"defaultVCpus": cpus}, "memoryInfo": {"sizeInMiB": memory}, "instanceStorageSupported": false,
            "supportedRootDeviceTypes": ["ebs"], "supportedVirtualizationTypes": ["hvm"], "burstablePerformanceSupported": name.starts_with('t'),
            "_architecture": architecture})
    })
}

/// DescribeInstanceTypes.
pub fn instance_types(cx: &mut Cx<'_>) -> Answer {
    let names = cx.params.values("InstanceType");
    if let Some(name) = names.iter().find(|name| instance_type(name).is_none()) {
        return Err(bad(
            "InvalidInstanceType",
            format!("The following supplied instance types do not exist: [{name}]"),
        ));
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|one| one == name);
    let all = TYPES.iter().filter(|(name, ..)| wanted(name)).filter_map(|(name, ..)| instance_type(name)).collect();
    let found = describe::narrow(cx, all)?;
    let (shown, token) = describe::page(cx, "InstanceType", found)?;
    Ok(xml::response("DescribeInstanceTypes", &describe::body("instanceTypeSet", shown, token)))
}

/// When an image was made, as its name says.
fn created(name: &str) -> String {
    let day = name.split(['-', '.']).find(|part| part.len() == 8 && part.chars().all(|c| c.is_ascii_digit()));
    let day = day.unwrap_or("20250306");
    format!("{}-{}-{}T00:00:00.000Z", &day[..4], &day[4..6], &day[6..])
}

/// DescribeImages.
pub fn images(cx: &mut Cx<'_>) -> Answer {
    let ids = cx.params.values("ImageId");
    let all: Vec<Value> = IMAGES
        .iter()
        .filter(|(id, ..)| ids.is_empty() || ids.iter().any(|one| one == id))
        .map(|(id, name, description, architecture)| {
            json!({"imageId": id, "imageLocation": format!("amazon/{name}"), "imageState": "available", "imageOwnerId": "137112412989",
                "creationDate": created(name), "isPublic": true, "architecture": architecture, "imageType": "machine",
                "name": name, "description": description, "rootDeviceType": "ebs", "rootDeviceName": "/dev/xvda",
                "blockDeviceMapping": [{"deviceName": "/dev/xvda", "ebs": {"snapshotId": "snap-0123456789abcdef0", "volumeSize": 8,
                "deleteOnTermination": true, "volumeType": "gp3", "encrypted": false}}], "virtualizationType": "hvm", "hypervisor": "xen",
                "imageOwnerAlias": "amazon", "ownerAlias": "amazon", "state": "available", "enaSupport": true, "tagSet": []})
        })
        .collect();
    if let Some(id) = ids.iter().find(|id| !IMAGES.iter().any(|(known, ..)| known == id)) {
        return Err(bad("InvalidAMIID.NotFound", format!("The image id '[{id}]' does not exist")));
    }
    let mut found = describe::narrow(cx, all)?;
    let owners = cx.params.values("Owner");
    let owned =
        |image: &Value| owners.iter().any(|it| image["imageOwnerId"] == **it || image["imageOwnerAlias"] == **it);
    found.retain(|image| owners.is_empty() || owned(image));
    let (shown, token) = describe::page(cx, "ImageId", found)?;
    Ok(xml::response("DescribeImages", &describe::body("imagesSet", shown, token)))
}

/// DescribeRegions.
pub fn regions(cx: &mut Cx<'_>) -> Answer {
    let names = cx.params.values("RegionName");
    if let Some(name) = names.iter().find(|name| !REGIONS.contains(&name.as_str())) {
        return Err(bad("InvalidParameterValue", format!("Invalid region provided: [{name}]")));
    }
    let all = REGIONS
        .iter()
        .filter(|name| names.is_empty() || names.iter().any(|one| one == *name))
        .map(|name| json!({"regionName": name, "regionEndpoint": format!("ec2.{name}.amazonaws.com"), "optInStatus": "opt-in-not-required"}))
        .collect();
    let found = describe::narrow(cx, all)?;
    Ok(xml::response("DescribeRegions", &json!({ "regionInfo": found })))
}

/// DescribeAvailabilityZones.
pub fn zones(cx: &mut Cx<'_>) -> Answer {
    let names = cx.params.values("ZoneName");
    let all: Vec<Value> = zone_names(&cx.region)
        .iter()
        .filter(|name| names.is_empty() || names.contains(name))
        .map(|name| {
            json!({"zoneName": name, "zoneState": "available", "state": "available", "regionName": cx.region, "messageSet": [],
                "zoneId": zone_id(name), "groupName": cx.region, "networkBorderGroup": cx.region, "zoneType": "availability-zone",
                "optInStatus": "opt-in-not-required"})
        })
        .collect();
    let found = describe::narrow(cx, all)?;
    Ok(xml::response("DescribeAvailabilityZones", &json!({ "availabilityZoneInfo": found })))
}

/// DescribeAccountAttributes.
pub fn account(_: &mut Cx<'_>) -> Answer {
    let attribute =
        |name: &str, value: &str| json!({"attributeName": name, "attributeValueSet": [{"attributeValue": value}]});
    let all = [
        attribute("supported-platforms", "VPC"),
        attribute("default-vpc", "none"),
        attribute("max-instances", "1000"),
        attribute("vpc-max-security-groups-per-interface", "5"),
        attribute("max-elastic-ips", "5"),
    ];
    Ok(xml::response("DescribeAccountAttributes", &json!({ "accountAttributeSet": all })))
}
