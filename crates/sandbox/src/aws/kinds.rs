//! Owns the kinds of resources that EC2 has here: how each is stored, named, tagged and missed.

use super::bad;
use crate::call::Reply;

/// What EC2 calls a kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// As stored.
    pub name: &'static str,
    /// As in tags.
    pub resource_type: &'static str,
    pub prefix: &'static str,
    /// The field that holds the id.
    pub id_field: &'static str,
    pub not_found: &'static str,
    pub malformed: &'static str,
}

impl Kind {
    /// There is none by that id.
    pub fn absent(self, id: &str) -> Reply {
        let noun = self.resource_type.replace('-', " ");
        bad(self.not_found, format!("The {noun} ID '{id}' does not exist"))
    }
}

const fn kind(
    name: &'static str,
    resource_type: &'static str,
    prefix: &'static str,
    id_field: &'static str,
    not_found: &'static str,
    malformed: &'static str,
) -> Kind {
    Kind { name, resource_type, prefix, id_field, not_found, malformed }
}

pub const VPC: Kind = kind("vpc", "vpc", "vpc", "vpcId", "InvalidVpcID.NotFound", "InvalidVpcId.Malformed");
pub const SUBNET: Kind =
    kind("subnet", "subnet", "subnet", "subnetId", "InvalidSubnetID.NotFound", "InvalidSubnetID.Malformed");
pub const GROUP: Kind =
    kind("security_group", "security-group", "sg", "groupId", "InvalidGroup.NotFound", "InvalidGroupId.Malformed");
pub const RULE: Kind = kind(
    "rule",
    "security-group-rule",
    "sgr",
    "securityGroupRuleId",
    "InvalidSecurityGroupRuleId.NotFound",
    "InvalidSecurityGroupRuleId.Malformed",
);
pub const INSTANCE: Kind =
    kind("instance", "instance", "i", "instanceId", "InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed");
pub const KEY: Kind =
    kind("key_pair", "key-pair", "key", "keyPairId", "InvalidKeyPair.NotFound", "InvalidKeyPairID.Malformed");
pub const GATEWAY: Kind = kind(
    "internet_gateway",
    "internet-gateway",
    "igw",
    "internetGatewayId",
    "InvalidInternetGatewayID.NotFound",
    "InvalidInternetGatewayId.Malformed",
);
pub const TABLE: Kind = kind(
    "route_table",
    "route-table",
    "rtb",
    "routeTableId",
    "InvalidRouteTableID.NotFound",
    "InvalidRouteTableId.Malformed",
);
pub const TABLE_USE: Kind = kind(
    "route_table_association",
    "route-table-association",
    "rtbassoc",
    "routeTableAssociationId",
    "InvalidAssociationID.NotFound",
    "InvalidAssociationID.Malformed",
);
/// Its id here is the table's and the destination.
pub const ROUTE: Kind =
    kind("route", "route", "rtb", "destinationCidrBlock", "InvalidRoute.NotFound", "InvalidRoute.Malformed");
pub const VOLUME: Kind =
    kind("volume", "volume", "vol", "volumeId", "InvalidVolume.NotFound", "InvalidVolumeID.Malformed");
/// Its id here is the volume's, the instance's and the device.
pub const ATTACHMENT: Kind =
    kind("volume_attachment", "volume", "vol", "volumeId", "InvalidAttachment.NotFound", "InvalidVolumeID.Malformed");
pub const ADDRESS: Kind = kind(
    "elastic_ip",
    "elastic-ip",
    "eipalloc",
    "allocationId",
    "InvalidAllocationID.NotFound",
    "InvalidAllocationID.Malformed",
);
pub const ADDRESS_USE: Kind = kind(
    "elastic_ip_association",
    "elastic-ip-association",
    "eipassoc",
    "associationId",
    "InvalidAssociationID.NotFound",
    "InvalidAssociationID.Malformed",
);
pub const NAT: Kind =
    kind("nat_gateway", "natgateway", "nat", "natGatewayId", "NatGatewayNotFound", "NatGatewayMalformed");
pub const INTERFACE: Kind = kind(
    "network_interface",
    "network-interface",
    "eni",
    "networkInterfaceId",
    "InvalidNetworkInterfaceID.NotFound",
    "InvalidNetworkInterfaceId.Malformed",
);

/// Every kind that can carry tags.
pub const KINDS: &[Kind] = &[VPC, SUBNET, GROUP, RULE, INSTANCE, KEY, GATEWAY, TABLE, VOLUME, ADDRESS, NAT, INTERFACE];
