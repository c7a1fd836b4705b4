//! A namespace with the interfaces, addresses, routes and neighbours that a configuration of the reference
//! NAT names. The MAC address of a neighbour says where it is.

use std::net::Ipv4Addr;

use rtnetlink::{RouteMessageBuilder, packet_route::rule::RuleAction};

use nat_tests::{
    model::{ModelConfig, Side},
    netns::{
        Namespace,
        links::{End, veth},
    },
    packets::Mac,
};

/// An address on the uplink's network that no neighbour entry names.
pub const NEVER_SEEN: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 250);
/// Of every interface: what the packets of the fixtures are addressed to.
pub const EDGE_MAC: Mac = Mac::GATEWAY;

/// The uplink.
pub const UPLINK: &str = "uplink0";
/// The others, by number.
const INSIDE: [&str; 9] = [
    "inside0", "inside1", "inside2", "inside3", "inside4", "inside5", "inside6", "inside7",
    "inside8",
];
/// The second byte of the MAC addresses of neighbours: 16 and the number of the interface.
const OF_UPLINK: u8 = 15;
const OF_INSIDE: u8 = 16;

/// The interface of a side.
pub fn device(side: Side) -> &'static str {
    match side {
        Side::Uplink => UPLINK,
        Side::Inside(number) => INSIDE[number as usize],
    }
}

/// All interfaces of a configuration.
pub fn devices(config: &ModelConfig) -> Vec<&'static str> {
    let mut devices = vec![UPLINK];
    for subnet in &config.subnets {
        let device = device(Side::Inside(subnet.interface));
        if !devices.contains(&device) {
            devices.push(device);
        }
    }
    devices
}

/// The interface and the neighbour that a frame goes to.
pub fn place(frame: &[u8]) -> Option<(Side, Ipv4Addr)> {
    let &[2, side, a, b, c, d] = frame.get(..6)? else {
        return None;
    };
    let side = match side {
        OF_UPLINK => Side::Uplink,
        OF_INSIDE.. => Side::Inside(u32::from(side - OF_INSIDE)),
        _ => return None,
    };
    Some((side, Ipv4Addr::new(a, b, c, d)))
}

/// The edge, and what is at the far ends of its interfaces.
pub fn build(config: &ModelConfig, forwards: bool) -> (Namespace, Namespace) {
    let edge = Namespace::with_own_mounts("edge").unwrap();
    edge.set("net/ipv4/ip_forward", if forwards { "1" } else { "0" })
        .unwrap();
    let wire = Namespace::new("wire").unwrap();
    for device in devices(config) {
        let near = End {
            node: &edge,
            device,
            mac: Some(EDGE_MAC.0),
        };
        let far = End {
            node: &wire,
            device,
            mac: None,
        };
        veth(near, far).unwrap();
        wire.up(device).unwrap();
        edge.up(device).unwrap();
    }
    edge.address(UPLINK, "198.51.100.1/24").unwrap();
    neighbours(&edge, Side::Uplink, Ipv4Addr::new(198, 51, 100, 0));
    for subnet in &config.subnets {
        let side = Side::Inside(subnet.interface);
        let length = subnet.cidr.length();
        let own = format!("{}/{length}", subnet.cidr.nth(1));
        edge.address(device(side), &own).unwrap();
        neighbours(&edge, side, subnet.cidr.nth(0));
    }
    for gateway in config.gateways.iter().filter(|each| each.shared_with_host) {
        for ip in &gateway.public_ips {
            edge.address(UPLINK, &format!("{ip}/32")).unwrap();
        }
    }
    // Destinations of random traffic that are no neighbours lie behind one.
    edge.route("0.0.0.0/0", "198.51.100.254").unwrap();
    (edge, wire)
}

/// A neighbour gets another MAC address.
pub fn move_neighbour(edge: &Namespace, side: Side, address: Ipv4Addr, mac: Mac) {
    let index = edge.index(device(side)).unwrap();
    edge.netlink(|handle| async move {
        let add = handle.neighbours().add(index, address.into());
        add.link_layer_address(&mac.0).replace().execute().await
    })
    .unwrap();
}

/// What `source` sends goes out by another router, by a rule and a table of its own.
pub fn route_by_source(edge: &Namespace, source: Ipv4Addr, router: Ipv4Addr) {
    const TABLE: u32 = 100;
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .gateway(router)
        .table_id(TABLE)
        .build();
    edge.netlink(|handle| async move {
        handle.route().add(route).execute().await?;
        let rule = handle.rule().add().v4().source_prefix(source, 32);
        let rule = rule.table_id(TABLE).action(RuleAction::ToTable);
        rule.execute().await
    })
    .unwrap();
}

fn neighbours(edge: &Namespace, side: Side, network: Ipv4Addr) {
    let index = edge.index(device(side)).unwrap();
    let side = match side {
        Side::Uplink => OF_UPLINK,
        Side::Inside(number) => OF_INSIDE + number as u8,
    };
    edge.netlink(|handle| async move {
        for last in 2..=254 {
            let address = Ipv4Addr::from_bits(network.to_bits() | last);
            if address != NEVER_SEEN {
                let [a, b, c, d] = address.octets();
                let add = handle.neighbours().add(index, address.into());
                add.link_layer_address(&[2, side, a, b, c, d])
                    .execute()
                    .await?;
            }
        }
        Ok(())
    })
    .unwrap();
}
