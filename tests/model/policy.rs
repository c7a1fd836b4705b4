//! What the VPC's policy says about a packet: routes, ACLs, security groups.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::decide::{Stop, is_later_fragment, is_translated_protocol};
use super::rules::{Asked, Toward};
use super::sender::Sender;
use super::through_gateway::{is_left_untranslated, is_translatable};
use super::{DropReason, Model, Target, Via};
use crate::packets::Ipv4;

use Toward::{Egress, Ingress};

/// The instance metadata service: no rule keeps anybody from it.
pub(super) const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

impl Model {
    /// Where a packet from inside is led, if routes and ACLs let it go. What is `new` has
    /// no session.
    pub(super) fn via(&self, ip: &Ipv4, sender: &Sender, new: bool) -> Result<Via, Stop> {
        let target = self.lead(sender.subnet, ip.dst)?;
        // What an instance sends would come back to it for ever.
        if let Target::Instance(number) = target
            && sender.instance == Some(number)
        {
            return Err(Stop::drop(DropReason::Blackhole));
        }
        let subnet = &self.config.subnets[sender.subnet];
        let stays = target == Target::Local && subnet.cidr.contains(ip.dst);
        if !stays {
            self.acl(sender.subnet, Egress, ip, &Asked::of(ip), ip.dst)?;
        }
        match target {
            Target::Local => {
                let receiver = self.config.subnet_of(sender.vpc, ip.dst);
                let receiver = receiver.ok_or(Stop::drop(DropReason::NoRoute))?;
                self.enter_subnet(ip, sender, receiver)?;
                Ok(Via::Local)
            }
            Target::Instance(number) => {
                let instance = &self.config.instances[number];
                if instance.source_dest_check {
                    return Err(Stop::drop(DropReason::SourceDestCheck));
                }
                self.enter_subnet(ip, sender, instance.subnet)?;
                Ok(Via::Instance(number))
            }
            Target::InternetGateway => {
                let public = self.config.public_of_sender(sender);
                public.ok_or(Stop::drop(DropReason::NoPublicIp))?;
                Ok(Via::InternetGateway)
            }
            Target::NatGateway(number) => {
                if new && is_left_untranslated(&self.config.gateways[number], ip) {
                    return Err(Stop::Pass);
                }
                if is_later_fragment(ip) && is_translated_protocol(ip) {
                    return Err(Stop::Follow);
                }
                self.out_of_gateway(ip, sender, number)?;
                if new {
                    is_translatable(ip)?;
                }
                Ok(Via::NatGateway(number))
            }
            Target::Blackhole => Err(Stop::drop(DropReason::Blackhole)),
        }
    }

    /// Where a subnet's route table leads, unless it leads nowhere.
    fn lead(&self, subnet: usize, destination: Ipv4Addr) -> Result<Target, Stop> {
        match self.config.target(subnet, destination) {
            None => Err(Stop::drop(DropReason::NoRoute)),
            Some(Target::Blackhole) => Err(Stop::drop(DropReason::Blackhole)),
            Some(target) => Ok(target),
        }
    }

    /// Across the boundary of the receiver's subnet.
    fn enter_subnet(&self, ip: &Ipv4, sender: &Sender, subnet: usize) -> Result<(), Stop> {
        if subnet == sender.subnet {
            return Ok(());
        }
        self.acl(subnet, Ingress, ip, &Asked::of(ip), ip.src)
    }

    /// Through the subnet of a NAT gateway, which has a route table of its own.
    fn out_of_gateway(&self, ip: &Ipv4, sender: &Sender, gateway: usize) -> Result<(), Stop> {
        let settings = &self.config.gateways[gateway];
        self.enter_subnet(ip, sender, settings.subnet)?;
        let target = self.lead(settings.subnet, ip.dst)?;
        if target != Target::InternetGateway {
            return Err(Stop::drop(DropReason::NoRoute));
        }
        self.acl(settings.subnet, Egress, ip, &Asked::of(ip), ip.dst)
    }

    /// From outside through a NAT gateway to its client at `inside`.
    pub(super) fn enter_gateway(
        &self,
        ip: &Ipv4,
        gateway: usize,
        (client, inside): (usize, SocketAddrV4),
    ) -> Result<(), Stop> {
        let subnet = self.config.gateways[gateway].subnet;
        let asked = Asked::of(ip);
        self.acl(subnet, Ingress, ip, &asked, ip.src)?;
        if subnet == client {
            return Ok(());
        }
        let asked = asked.at_port(inside.port());
        self.acl(subnet, Egress, ip, &asked, *inside.ip())?;
        self.acl(client, Ingress, ip, &asked, ip.src)
    }

    /// Asks the ACL of a subnet about a packet that crosses its boundary.
    pub(super) fn acl(
        &self,
        subnet: usize,
        toward: Toward,
        ip: &Ipv4,
        asked: &Asked,
        remote: Ipv4Addr,
    ) -> Result<(), Stop> {
        let subnet = &self.config.subnets[subnet];
        let Some(acl) = subnet.acl.filter(|_| !is_of_metadata(ip)) else {
            return Ok(());
        };
        // It does not say which ports it is for.
        if is_later_fragment(ip) && is_translated_protocol(ip) {
            return Err(Stop::Follow);
        }
        let acl = &self.config.vpcs[subnet.vpc].network_acls[acl];
        if acl.allows(toward, asked, remote) {
            Ok(())
        } else {
            Err(Stop::drop(DropReason::NetworkAcl))
        }
    }

    /// Asks the groups of both ends about a new flow; who is at an end is an instance here,
    /// or none. To a receiver, who sends for others has its own groups.
    pub(super) fn groups(
        &self,
        ip: &Ipv4,
        asked: &Asked,
        sender: Option<usize>,
        receiver: Option<usize>,
    ) -> Result<(), Stop> {
        let lets_out = sender.is_none_or(|sender| {
            let vpc = self.config.vpc_of_instance(sender);
            let remote = (ip.dst, self.config.instance_of(vpc, ip.dst));
            self.config.groups_allow(sender, Egress, asked, remote)
        });
        let lets_in = receiver.is_none_or(|receiver| {
            let remote = (ip.src, sender);
            self.config.groups_allow(receiver, Ingress, asked, remote)
        });
        if lets_out && lets_in {
            Ok(())
        } else {
            Err(Stop::drop(DropReason::SecurityGroup))
        }
    }
}

pub(super) fn is_of_metadata(ip: &Ipv4) -> bool {
    [ip.src, ip.dst].contains(&METADATA)
}
