//! The policy program: answers what the other programs ask in `decisions.rs`. What it says is decided by
//! `nat_common::policy`, on the policy maps, the session table, and what the host knows of routes.

use nat_common::{
    address::{Address, Port},
    flow::Flow,
    map_types::{
        BalancedTarget, Gateway, Instance, Listener, PublicAddress, Route, SessionKey, Subnet,
        bound_key,
    },
    parse,
    policy::{self, Leads, Policy, Question, Step, What},
    wire::{EthernetHeader, Mac},
};

use crate::{
    decisions::{self, About},
    forward::{self, Hook},
    halves::{is_bound, is_in_use},
    policy_maps::View,
    rule_maps, trace, unknown,
};

/// Answers what waits for an answer; the stage that asked, if it is known.
#[inline(always)]
pub fn run<H: Hook>(hook: &H) -> Option<u32> {
    let view = View::now();
    let ingress = hook.ingress();
    let interface = view.interface(ingress)?;
    let packet = unknown::packet(parse::ipv4(hook).ok()?);
    let mac = hook.load::<EthernetHeader>(0)?.source();
    // Type and code of an ICMP message; of others it does not count.
    let icmp = if packet.is_later_fragment() {
        0
    } else {
        hook.load::<u16>(packet.transport_offset)
            .map_or(0, u16::from_be)
    };
    let what = What::of(&packet, icmp);
    let asked = Asked { hook, view };
    let question = |session| Question {
        packet: &packet,
        what,
        interface,
        ingress,
        mac,
        session,
    };
    // One at a time: the verifier follows every way through the second behind every way through the first.
    if let Some(slot) = decisions::question(About::Outward) {
        let question = question(&slot.session);
        let decision = policy::outward(&asked, &question, &mut slot.course);
        slot.answer(view, decision);
        return Some(slot.stage);
    }
    let slot = decisions::question(About::Inward)?;
    let question = question(&slot.session);
    let inside = slot.inside;
    slot.answer(
        view,
        policy::inward(&asked, &question, slot.remote, &inside),
    );
    Some(slot.stage)
}

/// The policy, and what this hook knows beside it.
struct Asked<'a, H> {
    hook: &'a H,
    view: View,
}

impl<H: Hook> Policy for Asked<'_, H> {
    #[inline(always)]
    fn subnet_behind(&self, interface: u32, source: Address) -> Option<Subnet> {
        self.view.subnet_behind(interface, source)
    }

    #[inline(always)]
    fn subnet_of(&self, vpc: u16, address: Address) -> Option<Subnet> {
        self.view.subnet_of(vpc, address)
    }

    #[inline(always)]
    fn instance(&self, vpc: u16, address: Address) -> Option<Instance> {
        self.view.instance(vpc, address)
    }

    #[inline(always)]
    fn appliance(&self, interface: u32, mac: Mac) -> Option<Address> {
        self.view.appliance(interface, mac)
    }

    #[inline(always)]
    fn route(&self, table: u32, destination: Address) -> Route {
        self.view.route(table, destination)
    }

    #[inline(always)]
    fn gateway(&self, number: u32) -> Option<&Gateway> {
        self.view.gateway(number)
    }

    #[inline(always)]
    fn public_address(&self, address: Address) -> PublicAddress {
        self.view.public_address(address).unwrap_or_default()
    }

    #[inline(always)]
    fn listener(&self, gateway: u32, protocol: u8, port: Port) -> Option<Listener> {
        self.view.listener(gateway, protocol, port)
    }

    #[inline(always)]
    fn target(&self, table: u32, hash: u32) -> BalancedTarget {
        self.view.target(table, hash)
    }

    #[inline(always)]
    fn has_target(&self, table: u32, address: Address, port: Port) -> bool {
        self.view.has_target(table, address, port)
    }

    #[inline(always)]
    fn is_exempt(&self, gateway: u32, remote: Address, protocol: u8, port: Option<Port>) -> bool {
        self.view.is_exempt(gateway, remote, protocol, port)
    }

    #[inline(always)]
    fn is_bound(&self, flow: &Flow) -> bool {
        let key = bound_key(flow);
        is_bound(&raw const key) != 0
    }

    #[inline(always)]
    fn is_open(&self, flow: &Flow, scope: u16) -> bool {
        let key = SessionKey::forward(flow, scope);
        is_in_use(&raw const key) != 0
    }

    #[inline(always)]
    fn is_answered(&self, flow: &Flow) -> bool {
        let key = SessionKey::reverse(flow);
        is_in_use(&raw const key) != 0
    }

    #[inline(always)]
    fn is_answer(&self, flow: &Flow, scope: u16) -> bool {
        let key = SessionKey::answers(flow, scope);
        is_in_use(&raw const key) != 0
    }

    #[inline(always)]
    fn leads(&self, flow: &Flow) -> Leads {
        forward::leads(self.hook, self.view, flow)
    }

    #[inline(always)]
    fn is_the_hosts(&self, flow: &Flow, subnet: &Subnet) -> bool {
        forward::is_the_hosts(self.hook, flow, subnet.interface)
    }

    #[inline(always)]
    fn acl_allows(&self, ruleset: u32, remote: Address, what: What) -> bool {
        let judgement = rule_maps::of_acl(self.view, ruleset, remote, what);
        self.note(Step::Acl, ruleset, judgement.0);
        judgement.allows()
    }

    #[inline(always)]
    fn groups_allow(&self, ruleset: u32, remote: Address, remote_set: u32, what: What) -> bool {
        let judgement = rule_maps::of_groups(self.view, ruleset, remote, remote_set, what);
        self.note(Step::Groups, ruleset, judgement.0);
        judgement.allows()
    }

    #[inline(always)]
    fn note(&self, step: Step, value: u32, detail: u32) {
        trace::note(step, value, detail);
    }
}
