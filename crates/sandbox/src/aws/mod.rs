//! Owns the EC2 query protocol: signature, dry runs, routing by action, and what every action shares.

mod addresses;
mod auth;
mod catalog;
mod describe;
mod gateways;
mod groups;
mod instances;
mod interfaces;
mod keys;
mod kinds;
mod launch;
mod nat;
mod params;
mod routes;
mod rules;
mod subnets;
mod tags;
mod tokens;
mod volumes;
mod vpcs;
pub mod xml;

use crate::call::{Call, Reply};
use crate::world::World;
use kinds::{GROUP, INSTANCE, KEY, KINDS, Kind, RULE, SUBNET, VPC};
use params::Params;
use serde_json::{Value, json};

/// An answer, or a refusal in EC2's shape; both are sent alike.
pub type Answer = Result<Reply, Reply>;

/// The account that everything belongs to.
pub const OWNER: &str = "123456789012";

/// One request in one region.
pub struct Cx<'a> {
    pub world: &'a mut World,
    pub params: Params,
    pub region: String,
    /// `aws/<region>`.
    pub scope: String,
    pub now: i64,
    pub stale_ms: i64,
}

/// Answers `POST /`.
pub fn answer(world: &mut World, call: &Call) -> Reply {
    serve(world, call).unwrap_or_else(|refusal| refusal)
}

fn serve(world: &mut World, call: &Call) -> Answer {
    if call.path != "/" {
        return Err(xml::error(404, "InvalidAction", "no such path"));
    }
    let signed = auth::check(call, &world.options.aws_access_key, &world.options.aws_secret)?;
    let action = call.param("Action").unwrap_or_default().to_owned();
    if signed.service == "sts" {
        return caller(&action);
    }
    if call.param("Version") != Some("2016-11-15") {
        return Err(bad("InvalidAction", format!("The action {action} is not valid for this web service.")));
    }
    let mut cx = Cx {
        params: Params::new(call.params.clone()),
        scope: format!("aws/{}", signed.region),
        region: signed.region,
        now: call.now,
        stale_ms: call.stale_ms,
        world,
    };
    let handler = handler(&action)
        .ok_or_else(|| bad("InvalidAction", format!("The action {action} is not valid for this web service.")))?;
    if cx.params.get("DryRun") == Some("true") {
        let message = "Request would have succeeded, but DryRun flag is set.";
        return Err(xml::error(412, "DryRunOperation", message));
    }
    handler(&mut cx)
}

type Handler = fn(&mut Cx<'_>) -> Answer;

fn handler(action: &str) -> Option<Handler> {
    Some(match action {
        "ImportKeyPair" => keys::import,
        "CreateKeyPair" => keys::create,
        "DescribeKeyPairs" => keys::describe,
        "DeleteKeyPair" => keys::delete,
        "CreateVpc" => vpcs::create,
        "DescribeVpcs" => vpcs::describe,
        "ModifyVpcAttribute" => vpcs::modify,
        "DescribeVpcAttribute" => vpcs::attribute,
        "DeleteVpc" => vpcs::delete,
        "CreateSubnet" => subnets::create,
        "DescribeSubnets" => subnets::describe,
        "ModifySubnetAttribute" => subnets::modify,
        "DeleteSubnet" => subnets::delete,
        "CreateSecurityGroup" => groups::create,
        "DescribeSecurityGroups" => groups::describe,
        "DeleteSecurityGroup" => groups::delete,
        "AuthorizeSecurityGroupIngress" => rules::authorize_ingress,
        "AuthorizeSecurityGroupEgress" => rules::authorize_egress,
        "RevokeSecurityGroupIngress" => rules::revoke_ingress,
        "RevokeSecurityGroupEgress" => rules::revoke_egress,
        "DescribeSecurityGroupRules" => rules::describe,
        "RunInstances" => launch::run,
        "DescribeInstances" => instances::describe,
        "DescribeInstanceStatus" => instances::status,
        "DescribeInstanceAttribute" => instances::attribute,
        "ModifyInstanceAttribute" => instances::modify,
        "StartInstances" => instances::start,
        "StopInstances" => instances::stop,
        "RebootInstances" => instances::reboot,
        "TerminateInstances" => instances::terminate,
        "CreateTags" => tags::create,
        "DeleteTags" => tags::delete,
        "DescribeTags" => tags::describe,
        "DescribeImages" => catalog::images,
        "DescribeRegions" => catalog::regions,
        "DescribeAvailabilityZones" => catalog::zones,
        "DescribeInstanceTypes" => catalog::instance_types,
        "DescribeAccountAttributes" => catalog::account,
        "CreateInternetGateway" => gateways::create,
        "AttachInternetGateway" => gateways::attach,
        "DetachInternetGateway" => gateways::detach,
        "DescribeInternetGateways" => gateways::describe,
        "DeleteInternetGateway" => gateways::delete,
        "CreateRouteTable" => routes::create,
        "DescribeRouteTables" => routes::describe,
        "DeleteRouteTable" => routes::delete,
        "AssociateRouteTable" => routes::associate,
        "DisassociateRouteTable" => routes::disassociate,
        "ReplaceRouteTableAssociation" => routes::reassociate,
        "CreateRoute" => routes::add,
        "ReplaceRoute" => routes::replace,
        "DeleteRoute" => routes::remove,
        "CreateVolume" => volumes::create,
        "DescribeVolumes" => volumes::describe,
        "ModifyVolume" => volumes::modify,
        "DescribeVolumesModifications" => volumes::modifications,
        "DeleteVolume" => volumes::delete,
        "AttachVolume" => volumes::attach,
        "DetachVolume" => volumes::detach,
        "AllocateAddress" => addresses::allocate,
        "DescribeAddresses" => addresses::describe,
        "ReleaseAddress" => addresses::release,
        "AssociateAddress" => addresses::associate,
        "DisassociateAddress" => addresses::disassociate,
        "CreateNatGateway" => nat::create,
        "DescribeNatGateways" => nat::describe,
        "DeleteNatGateway" => nat::delete,
        "CreateNetworkInterface" => interfaces::create,
        "DescribeNetworkInterfaces" => interfaces::describe,
        "ModifyNetworkInterfaceAttribute" => interfaces::modify,
        "DeleteNetworkInterface" => interfaces::delete,
        _ => return None,
    })
}

fn caller(action: &str) -> Answer {
    if action != "GetCallerIdentity" {
        return Err(bad("InvalidAction", format!("Could not find operation {action}")));
    }
    let id = uuid();
    Ok(Reply::xml(
        200,
        format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>arn:aws:iam::{OWNER}:user/sandbox</Arn><UserId>AIDASANDBOX</UserId><Account>{OWNER}</Account>\
             </GetCallerIdentityResult><ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata>\
             </GetCallerIdentityResponse>"
        ),
    ))
}

/// A refusal with status 400, which nearly all of EC2's are.
pub fn bad(code: &str, message: impl AsRef<str>) -> Reply {
    xml::error(400, code, message.as_ref())
}

/// A required parameter is not there.
pub fn missing(name: &str) -> Reply {
    bad("MissingParameter", format!("The request must contain the parameter {name}"))
}

/// A random UUID.
pub fn uuid() -> String {
    let n = crate::chance::number();
    let hex = format!("{n:032x}");
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

/// An id of EC2's form: the prefix, `0`, and sixteen hex digits.
pub fn new_id(prefix: &str) -> String {
    format!("{prefix}-0{:016x}", crate::chance::number() as u64)
}

/// A moment as EC2 writes it.
pub fn time(ms: i64) -> String {
    crate::call::timestamp(ms).to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

impl Cx<'_> {
    /// A required parameter.
    pub fn required(&self, name: &str) -> Result<String, Reply> {
        match self.params.get(name) {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(missing(name)),
        }
    }

    /// A resource as it is now.
    pub fn find(&self, kind: Kind, id: &str) -> Result<Value, Reply> {
        if !id.starts_with(kind.prefix) || !id[kind.prefix.len()..].starts_with('-') {
            return Err(bad(kind.malformed, format!("Invalid id: \"{id}\" (expecting \"{}-...\")", kind.prefix)));
        }
        self.world.store.get(&self.scope, kind.name, id, self.now).ok_or_else(|| kind.absent(id))
    }

    /// Keeps a resource.
    pub fn put(&mut self, kind: Kind, id: &str, value: Value) {
        self.world.store.put(&self.scope, kind.name, id, value, self.now);
    }

    /// Every resource of a kind as it is now.
    pub fn every(&self, kind: Kind) -> impl Iterator<Item = Value> {
        let now = self.now;
        self.world.store.rows(&self.scope, kind.name, now).map(move |row| row.at(now))
    }

    /// The tags of the request's specifications for one type of resource.
    pub fn tags_for(&self, resource_type: &str) -> Result<Value, Reply> {
        let mut all = Vec::new();
        for specification in self.params.list("TagSpecification") {
            if specification.get("ResourceType") != Some(resource_type) {
                continue;
            }
            tags::merge(&mut all, tags::read(&specification)?)?;
        }
        Ok(Value::Array(all))
    }

    /// Takes a resource away.
    pub fn drop(&mut self, kind: Kind, id: &str) {
        self.world.store.remove(&self.scope, kind.name, id);
    }

    /// When what is begun now is over.
    pub fn then(&self) -> i64 {
        self.now + self.world.action_ms()
    }

    /// `<return>true</return>`.
    pub fn done(&self, action: &str, id: &str) -> Answer {
        Ok(xml::response(action, &json!({"return": true})).about(id))
    }
}
