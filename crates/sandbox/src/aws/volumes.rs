//! Owns EC2's volumes and what they are attached to.

use super::kinds::{ATTACHMENT, VOLUME};
use super::{Answer, Cx, INSTANCE, Params, bad, catalog, describe, new_id, time, tokens, xml};
use crate::call::Reply;
use serde_json::{Value, json};

/// Name, smallest and largest size, and the IOPS and throughput by default.
type VolumeType = (&'static str, u64, u64, Option<u64>, Option<u64>);

const TYPES: &[VolumeType] = &[
    ("gp2", 1, 16384, Some(100), None),
    ("gp3", 1, 16384, Some(3000), Some(125)),
    ("io1", 4, 16384, Some(100), None),
    ("io2", 4, 65536, Some(100), None),
    ("st1", 125, 16384, None, None),
    ("sc1", 125, 16384, None, None),
    ("standard", 1, 1024, None, None),
];

fn number(cx: &Cx<'_>, name: &str) -> Result<Option<u64>, Reply> {
    let Some(text) = cx.params.get(name) else { return Ok(None) };
    let wrong = || bad("InvalidParameterValue", format!("Value ({text}) for parameter {name} is invalid."));
    text.parse().map(Some).map_err(|_| wrong())
}

/// Writes type, size, IOPS and throughput into a volume, as far as they fit each other.
fn shape(cx: &Cx<'_>, volume: &mut Value, kind: &str, size: u64) -> Result<(), Reply> {
    let found = TYPES.iter().find(|(name, ..)| *name == kind);
    let (_, least, most, iops, throughput) = found
        .ok_or_else(|| bad("UnknownVolumeType", format!("Unsupported volume type '{kind}' for volume creation.")))?;
    if !(*least..=*most).contains(&size) {
        let message = format!("Volume of {size}GiB is not within the limits of {least} to {most}GiB for type {kind}.");
        return Err(bad("InvalidParameterValue", message));
    }
    let same = volume["volumeType"] == kind;
    // The baseline of a gp2 volume is told by its size, and nobody sets it.
    let iops = if kind == "gp2" { Some((3 * size).clamp(100, 16_000)) } else { *iops };
    for (name, field, default) in [("Iops", "iops", iops), ("Throughput", "throughput", *throughput)] {
        let given = number(cx, name)?;
        if given.is_some() && (default.is_none() || (name == "Iops" && ["gp2", "standard"].contains(&kind))) {
            let message = format!("The parameter {field} is not supported for {kind} volumes.");
            return Err(bad("InvalidParameterCombination", message));
        }
        if given.is_some() || !same || kind == "gp2" {
            volume[field] = json!(given.or(default));
        }
    }
    volume["volumeType"] = json!(kind);
    volume["size"] = json!(size);
    Ok(())
}

/// CreateVolume.
pub fn create(cx: &mut Cx<'_>) -> Answer {
    let (token, before) = tokens::read(cx)?;
    if let Some(volume) = before.first().and_then(|id| cx.find(VOLUME, id).ok()) {
        return Ok(xml::response("CreateVolume", &volume));
    }
    let zone = cx.required("AvailabilityZone")?;
    if !catalog::zone_names(&cx.region).contains(&zone) {
        return Err(bad("InvalidZone.NotFound", format!("The zone '{zone}' does not exist.")));
    }
    let size = match (number(cx, "Size")?, cx.params.get("SnapshotId")) {
        (Some(size), _) => size,
        (None, Some(_)) => 8,
        (None, None) => {
            return Err(bad("MissingParameter", "The request must contain the parameter size/snapshot"));
        }
    };
    let tags = cx.tags_for("volume")?;
    let id = new_id("vol");
    let until = cx.then();
    let mut volume = json!({"volumeId": id, "availabilityZone": zone, "createTime": time(cx.now), "status": "creating",
        "encrypted": cx.params.get("Encrypted") == Some("true"), "snapshotId": cx.params.get("SnapshotId").unwrap_or_default(),
        "kmsKeyId": cx.params.get("KmsKeyId"), "multiAttachEnabled": false, "tagSet": tags, "attachmentSet": [],
        "_then": [{"at": until, "set": {"status": "available"}}]});
    shape(cx, &mut volume, cx.params.get("VolumeType").unwrap_or("gp2"), size)?;
    cx.put(VOLUME, &id, volume.clone());
    tokens::keep(cx, token, &[&id]);
    Ok(xml::response("CreateVolume", &volume).about(id))
}

/// Where the root volume of every instance is.
pub const ROOT: &str = "/dev/xvda";

/// The root volume of a new instance: that of its image, or as the request maps its device.
pub fn root(cx: &mut Cx<'_>, instance: &Value) -> Result<(), Reply> {
    let mapped = cx.params.list("BlockDeviceMapping").into_iter().find(|it| it.get("DeviceName") == Some(ROOT));
    let asked = |name: &str| mapped.as_ref().and_then(|it| it.get(&format!("Ebs.{name}"))).map(str::to_owned);
    let size = match asked("VolumeSize") {
        Some(text) => text.parse().map_err(|_| bad("InvalidParameterValue", "The volume size is no number."))?,
        None => 8,
    };
    let (id, instance_id) = (new_id("vol"), instance["instanceId"].clone());
    let mut volume = json!({"volumeId": id, "availabilityZone": instance["placement"]["availabilityZone"],
        "createTime": time(cx.now), "status": "available", "encrypted": false, "snapshotId": "snap-0123456789abcdef0",
        "multiAttachEnabled": false, "tagSet": cx.tags_for("volume")?, "attachmentSet": []});
    shape(cx, &mut volume, &asked("VolumeType").unwrap_or_else(|| "gp3".to_owned()), size)?;
    cx.put(VOLUME, &id, volume);
    let attached = json!({"volumeId": id, "instanceId": instance_id, "device": ROOT, "status": "attached",
        "attachTime": time(cx.now), "deleteOnTermination": asked("DeleteOnTermination").as_deref() != Some("false")});
    cx.put(ATTACHMENT, &key(&attached), attached);
    Ok(())
}

fn attached_to(cx: &Cx<'_>, instance_id: &str) -> Vec<Value> {
    cx.every(ATTACHMENT).filter(|one| one["instanceId"] == instance_id).collect()
}

/// An instance with what is attached to it.
pub fn mapped(cx: &Cx<'_>, mut instance: Value) -> Value {
    let all = attached_to(cx, instance["instanceId"].as_str().unwrap_or_default());
    let one = |it: &Value| {
        json!({"deviceName": it["device"], "ebs": {"volumeId": it["volumeId"], "status": it["status"],
            "attachTime": it["attachTime"], "deleteOnTermination": it["deleteOnTermination"]}})
    };
    // Not before it runs: the answer to RunInstances shows none.
    let pending = instance["instanceState"]["name"] == "pending";
    instance["blockDeviceMapping"] = all.iter().filter(|_| !pending).map(one).collect();
    instance
}

pub fn has_root(cx: &Cx<'_>, instance_id: &str) -> bool {
    attached_to(cx, instance_id).iter().any(|it| it["device"] == ROOT)
}

/// Says of what is attached whether it goes with the instance.
pub fn keep(cx: &mut Cx<'_>, instance_id: &str, disks: &[Params]) -> Result<(), Reply> {
    let all = attached_to(cx, instance_id);
    for disk in disks {
        let device = disk.get("DeviceName").unwrap_or_default();
        let mut attached = all.iter().find(|it| it["device"] == device).cloned().ok_or_else(|| {
            bad("InvalidInstanceAttributeValue", format!("No device is currently mapped at {device}"))
        })?;
        attached["deleteOnTermination"] = json!(disk.get("Ebs.DeleteOnTermination") == Some("true"));
        cx.put(ATTACHMENT, &key(&attached), attached);
    }
    Ok(())
}

/// What an attachment is kept by.
fn key(attached: &Value) -> String {
    let part = |field: &str| attached[field].as_str().unwrap_or_default();
    format!("{},{},{}", part("volumeId"), part("instanceId"), part("device"))
}

fn attachment(cx: &Cx<'_>, id: &str) -> Option<Value> {
    cx.every(ATTACHMENT).find(|one| one["volumeId"] == id)
}

/// DescribeVolumes.
pub fn describe(cx: &mut Cx<'_>) -> Answer {
    let mut all = describe::chosen(cx, VOLUME, "VolumeId")?;
    for volume in &mut all {
        if let Some(attached) = attachment(cx, volume["volumeId"].as_str().unwrap_or_default()) {
            volume["attachmentSet"] = json!([attached]);
            volume["status"] = json!("in-use");
        }
    }
    describe::answer(cx, "DescribeVolumes", "volumeSet", "VolumeId", all)
}

/// ModifyVolume: what it asks for is there at once, the optimising behind it is not waited for.
pub fn modify(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("VolumeId")?;
    let mut volume = cx.find(VOLUME, &id)?;
    let before = volume.clone();
    let old = volume["size"].as_u64().unwrap_or(0);
    let size = number(cx, "Size")?.unwrap_or(old);
    if size < old {
        return Err(bad("InvalidParameterValue", "New size cannot be smaller than existing size"));
    }
    if volume["status"] == "creating" {
        return Err(bad("IncorrectState", format!("The volume '{id}' is in the 'creating' state.")));
    }
    let kind = cx.params.get("VolumeType").map(str::to_owned);
    let kind = kind.unwrap_or_else(|| before["volumeType"].as_str().unwrap_or_default().to_owned());
    shape(cx, &mut volume, &kind, size)?;
    let change = json!({"volumeId": id, "modificationState": "optimizing", "progress": 0, "startTime": time(cx.now),
        "originalSize": before["size"], "originalVolumeType": before["volumeType"], "originalIops": before["iops"],
        "targetSize": volume["size"], "targetVolumeType": volume["volumeType"], "targetIops": volume["iops"]});
    volume["_change"] = change.clone();
    cx.put(VOLUME, &id, volume);
    Ok(xml::response("ModifyVolume", &json!({ "volumeModification": change })).about(id))
}

/// DescribeVolumesModifications.
pub fn modifications(cx: &mut Cx<'_>) -> Answer {
    let all = describe::chosen(cx, VOLUME, "VolumeId")?;
    let changes = all.iter().map(|volume| volume["_change"].clone()).filter(Value::is_object).collect();
    describe::answer(cx, "DescribeVolumesModifications", "volumeModificationSet", "VolumeId", changes)
}

/// DeleteVolume: refused while it is attached.
pub fn delete(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("VolumeId")?;
    let mut volume = cx.find(VOLUME, &id)?;
    if let Some(attached) = attachment(cx, &id) {
        let to = attached["instanceId"].as_str().unwrap_or_default();
        return Err(bad("VolumeInUse", format!("Volume {id} is currently attached to {to}")));
    }
    volume["status"] = json!("deleting");
    volume["_gone_at"] = json!(cx.then());
    cx.put(VOLUME, &id, volume);
    cx.done("DeleteVolume", &id)
}

/// AttachVolume.
pub fn attach(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("VolumeId")?;
    let instance_id = cx.required("InstanceId")?;
    let device = cx.required("Device")?;
    let volume = cx.find(VOLUME, &id)?;
    let instance = cx.find(INSTANCE, &instance_id)?;
    if attachment(cx, &id).is_some() {
        return Err(bad("VolumeInUse", format!("{id} is already attached to an instance")));
    }
    if volume["status"] != "available" {
        return Err(bad("IncorrectState", format!("Volume '{id}' is not in the 'available' state.")));
    }
    if !matches!(instance["instanceState"]["name"].as_str(), Some("running" | "stopped")) {
        return Err(bad("IncorrectState", format!("Instance '{instance_id}' is not 'running'.")));
    }
    if volume["availabilityZone"] != instance["placement"]["availabilityZone"] {
        return Err(bad(
            "InvalidVolume.ZoneMismatch",
            format!("The volume '{id}' is not in the same availability zone as instance '{instance_id}'"),
        ));
    }
    let busy = |one: &Value| one["instanceId"] == instance_id.as_str() && one["device"] == device.as_str();
    if cx.every(ATTACHMENT).any(|one| busy(&one)) {
        let message = format!("Invalid value '{device}' for unixDevice. Attachment point {device} is already in use");
        return Err(bad("InvalidParameterValue", message));
    }
    let attached = json!({"volumeId": id, "instanceId": instance_id, "device": device, "status": "attaching",
        "attachTime": time(cx.now), "deleteOnTermination": false,
        "_then": [{"at": cx.then(), "set": {"status": "attached"}}]});
    let own = key(&attached);
    cx.put(ATTACHMENT, &own, attached.clone());
    Ok(xml::response("AttachVolume", &attached).about(own))
}

/// DetachVolume.
pub fn detach(cx: &mut Cx<'_>) -> Answer {
    let id = cx.required("VolumeId")?;
    cx.find(VOLUME, &id)?;
    let Some(mut attached) = attachment(cx, &id)
        .filter(|one| cx.params.get("InstanceId").is_none_or(|instance| one["instanceId"] == instance))
    else {
        return Err(bad("IncorrectState", format!("Volume '{id}' is in the 'available' state.")));
    };
    let instance_id = attached["instanceId"].as_str().unwrap_or_default().to_owned();
    if attached["device"] == ROOT && cx.find(INSTANCE, &instance_id)?["instanceState"]["name"] != "stopped" {
        let message = format!("Unable to detach root volume '{id}' from instance '{instance_id}'");
        return Err(bad("OperationNotPermitted", message));
    }
    leave(cx, &mut attached);
    Ok(xml::response("DetachVolume", &attached).about(id))
}

fn leave(cx: &mut Cx<'_>, attached: &mut Value) {
    attached["status"] = json!("detaching");
    attached["_then"] = json!([]);
    attached["_gone_at"] = json!(cx.then());
    cx.put(ATTACHMENT, &key(attached), attached.clone());
}

/// What is attached to an instance that goes: it is free again, or goes too.
pub fn end(cx: &mut Cx<'_>, instance_id: &str) {
    let until = cx.then();
    for mut attached in attached_to(cx, instance_id) {
        if attached["deleteOnTermination"] == true && attached["status"] != "detaching" {
            let id = attached["volumeId"].as_str().unwrap_or_default().to_owned();
            if let Ok(mut volume) = cx.find(VOLUME, &id) {
                volume["_gone_at"] = json!(until);
                cx.put(VOLUME, &id, volume);
            }
        }
        leave(cx, &mut attached);
    }
}
