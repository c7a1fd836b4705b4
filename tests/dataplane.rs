//! The real programs, run packet by packet through `BPF_PROG_TEST_RUN` and judged by the reference
//! NAT of `model/`. The bench they run on is `dataplane/bench.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "dataplane/audit.rs"]
mod audit;
#[path = "dataplane/bench.rs"]
mod bench;
#[path = "dataplane/capture.rs"]
mod capture;
#[path = "dataplane/counts.rs"]
mod counts;
#[path = "dataplane/flow_cache.rs"]
mod flow_cache;
#[path = "dataplane/network.rs"]
mod network;
#[path = "dataplane/random.rs"]
mod random;
#[path = "dataplane/rfc.rs"]
mod rfc;
#[path = "dataplane/vpc.rs"]
mod vpc;

use std::time::Duration;

use bench::{Bench, Hook};
use nat_tests::{
    model::{Filtering, NatGateway, Side, Step, Timeouts},
    packets::{
        FixtureKind, PacketBuilder, addresses, arp_request, fixtures, tcp_flags,
        with_transport_checksum,
    },
};
use nat_userspace::leftovers::Leftovers;
use random::Judge;

const PUBLIC: Side = Side::Inside(0);
const PRIVATE: Side = Side::Inside(1);

/// Runs one packet and has the model judge it; answers the frame that came out.
fn judged(bench: &mut Bench, judge: &mut Judge, ingress: Side, frame: &[u8]) -> Option<Vec<u8>> {
    let step = Step::Packet(ingress, frame.to_vec());
    let sent = bench
        .inside(|bench| judge.step(bench, &step))
        .unwrap_or_else(|complaint| panic!("{complaint}\npacket in by {ingress:?}: {frame:02x?}"));
    sent.map(|(_, _, out)| out)
}

fn compare_fixtures(hook: Hook) {
    let mut bench = Bench::new(hook);
    let mut judge = Judge::new(&bench);
    for fixture in fixtures().iter().filter(|row| hook.takes(&row.frame)) {
        for ingress in [PRIVATE, PUBLIC, Side::Uplink] {
            println!("{} ({:?}) by {ingress:?}", fixture.name, fixture.kind);
            judged(&mut bench, &mut judge, ingress, &fixture.frame);
        }
    }
    assert!(fixtures().iter().any(|row| row.kind == FixtureKind::Good));
}

/// Both hooks are run by the same names.
macro_rules! on_both_hooks {
    ($($name:ident => $body:expr;)*) => {
        mod xdp {
            $(#[test] fn $name() { $body(super::Hook::Xdp) })*
        }
        mod tc {
            $(#[test] fn $name() { $body(super::Hook::Tc) })*
        }
    };
}

on_both_hooks! {
    random_traffic_equals_the_model => super::random::gateways;
    random_vpcs_equal_the_model => super::random::vpcs;
    of_two_hosts_with_one_address_each_gets_its_own_packets =>
        super::vpc::of_two_hosts_with_one_address_each_gets_its_own_packets;
    an_icmp_query_is_not_taken_for_a_ping_of_the_number_0 =>
        super::vpc::an_icmp_query_is_not_taken_for_a_ping_of_the_number_0;
    a_later_fragment_goes_where_the_last_first_one_went =>
        super::vpc::a_later_fragment_goes_where_the_last_first_one_went;
    no_other_station_sends_by_the_session_of_an_instance =>
        super::vpc::no_other_station_sends_by_the_session_of_an_instance;
    fragments_of_a_filtered_instance_keep_their_identification =>
        super::vpc::fragments_of_a_filtered_instance_keep_their_identification;
    a_flow_keeps_the_public_end_it_was_opened_with =>
        super::vpc::a_flow_keeps_the_public_end_it_was_opened_with;
    an_answer_by_another_gateway_is_no_answer =>
        super::vpc::an_answer_by_another_gateway_is_no_answer;
    what_an_appliance_sends_for_others_opens_the_way_to_nobody_else =>
        super::vpc::what_an_appliance_sends_for_others_opens_the_way_to_nobody_else;
    a_closed_connection_does_not_speak_for_the_next_one =>
        super::vpc::a_closed_connection_does_not_speak_for_the_next_one;
    reserved_destinations_are_routed_like_others =>
        super::vpc::reserved_destinations_are_routed_like_others;
    nobody_outside_has_a_public_ip_of_ours =>
        super::vpc::nobody_outside_has_a_public_ip_of_ours;
    counts_are_exact_whoever_counts => super::flow_cache::counts_are_exact_whoever_counts;
    flows_that_crowd_each_other_have_lines_too =>
        super::flow_cache::flows_that_crowd_each_other_have_lines_too;
    what_acls_alone_let_pass_has_a_line_under_one_policy =>
        super::flow_cache::what_acls_alone_let_pass_has_a_line_under_one_policy;
    a_line_is_void_when_the_number_of_its_generation_comes_back =>
        super::flow_cache::a_line_is_void_when_the_number_of_its_generation_comes_back;
    a_neighbour_that_moves_is_followed_within_half_a_second =>
        super::flow_cache::a_neighbour_that_moves_is_followed_within_half_a_second;
    each_instance_goes_by_the_hosts_rule_for_its_own_address =>
        super::flow_cache::each_instance_goes_by_the_hosts_rule_for_its_own_address;
    where_hops_have_no_room_packets_take_their_paths =>
        super::flow_cache::where_hops_have_no_room_packets_take_their_paths;
    an_answer_that_comes_from_inside_is_none =>
        super::flow_cache::an_answer_that_comes_from_inside_is_none;
    a_line_looks_at_its_session => super::flow_cache::a_line_looks_at_its_session;
    a_syn_reopens_a_session_that_a_sweep_has_marked => super::reopening_a_marked_session;
    an_answer_that_comes_too_late_for_more_leaves_no_line =>
        super::flow_cache::an_answer_that_comes_too_late_for_more_leaves_no_line;
    counts_of_a_session_that_is_over_go_to_nobody =>
        super::flow_cache::counts_of_a_session_that_is_over_go_to_nobody;
    every_fixture_equals_the_model => super::compare_fixtures;
    pat_keeps_the_port_when_free_and_overloads_it => super::pat_keeps_and_overloads;
    one_to_one_needs_no_session => super::one_to_one_needs_no_session;
    rfc768_computed_zero_checksum_goes_out_as_all_ones => super::zero_checksum_corner;
    rfc1071_an_echo_reply_of_zeros_alone_has_a_checksum_of_ones => super::zeros_alone;
    arp_for_public_ips_is_answered_on_the_uplink_only => super::arp;
    an_unknown_neighbour_is_left_to_the_kernel => super::unknown_neighbour;
    a_host_that_did_not_forward_is_made_no_router => super::closed_host;
    a_frame_for_another_station_is_left_alone => super::other_station;
    a_private_sender_outside_reaches_no_instance => super::spoofed_outside;
    an_answer_whose_subnet_is_gone_never_leaves_by_the_uplink => super::subnet_gone;
    a_pool_fills_to_its_last_port_and_the_next_session_is_told_why => super::full_pool;
    profile_rfc_fills_its_pool_to_the_last_port => super::rfc::limits::profile_rfc_fills_its_pool_to_the_last_port;
    a_port_that_is_freed_is_found_at_once => super::freed_port;
    two_cpus_racing_on_a_new_flow_end_with_one_mapping => super::race;
    an_idle_session_ends_in_two_steps_and_a_packet_between_them_keeps_it => super::expiry;
    a_vpc_address_without_a_subnet_never_leaves_by_the_uplink => super::no_subnet;
    what_a_removal_left_behind_goes_at_the_second_look => super::leftovers;
    a_table_that_is_full_drops_with_its_reason_and_keeps_what_it_has => super::full_table;
    rfc4787_req2_a_client_that_has_only_a_forward_takes_its_first_port_where_one_is => super::rfc::limits::rfc4787_req2_a_client_that_has_only_a_forward_takes_its_first_port_where_one_is;
    rfc4787_req5_a_mapping_outlives_its_timer_by_nothing => super::rfc::udp::rfc4787_req5_a_mapping_outlives_its_timer_by_nothing;
    rfc4787_req5_an_expired_mapping_lets_nobody_in => super::rfc::udp::rfc4787_req5_an_expired_mapping_lets_nobody_in;
    rfc4787_req6_packets_from_inside_keep_a_mapping => super::rfc::udp::rfc4787_req6_packets_from_inside_keep_a_mapping;
    rfc4787_req7_an_outside_host_with_an_inside_address_is_refused => super::rfc::udp::rfc4787_req7_an_outside_host_with_an_inside_address_is_refused;
    rfc4787_req10_payloads_are_left_alone => super::rfc::udp::rfc4787_req10_payloads_are_left_alone;
    rfc4787_req11_exhaustion_changes_neither_mapping_nor_filtering => super::rfc::udp::rfc4787_req11_exhaustion_changes_neither_mapping_nor_filtering;
    rfc4787_req13_too_big_with_df_is_told_the_mtu => super::rfc::udp::rfc4787_req13_too_big_with_df_is_told_the_mtu;
    rfc4787_req13a_too_big_without_df_is_cut_both_ways => super::rfc::too_big::rfc4787_req13a_too_big_without_df_is_cut_both_ways;
    rfc791_fragments_have_the_options_that_are_to_be_copied => super::rfc::too_big::rfc791_fragments_have_the_options_that_are_to_be_copied;
    rfc791_a_fragment_that_is_too_big_is_cut_further => super::rfc::too_big::rfc791_a_fragment_that_is_too_big_is_cut_further;
    rfc6864_what_is_cut_here_gets_an_identification_of_its_own => super::rfc::too_big::rfc6864_what_is_cut_here_gets_an_identification_of_its_own;
    an_icmp_error_that_is_too_big_is_dropped => super::rfc::too_big::an_icmp_error_that_is_too_big_is_dropped;
    rfc3022_no_private_address_leaves_by_the_uplink => super::rfc::udp::rfc3022_no_private_address_leaves_by_the_uplink;
    rfc6864_a_whole_datagram_keeps_its_identification => super::rfc::udp::rfc6864_a_whole_datagram_keeps_its_identification;
    rfc6864_first_fragments_of_two_hosts_get_different_identifications => super::rfc::udp::rfc6864_first_fragments_of_two_hosts_get_different_identifications;
    rfc5382_req2_every_valid_sequence_passes => super::rfc::tcp::rfc5382_req2_every_valid_sequence_passes;
    rfc5382_req2_a_connection_opened_from_outside_passes => super::rfc::tcp::rfc5382_req2_a_connection_opened_from_outside_passes;
    rfc5382_req4_an_unsolicited_syn_is_dropped_in_silence => super::rfc::tcp::rfc5382_req4_an_unsolicited_syn_is_dropped_in_silence;
    rfc5382_req5_an_established_connection_may_be_idle_for_2_h_4_min => super::rfc::tcp::rfc5382_req5_an_established_connection_may_be_idle_for_2_h_4_min;
    rfc7857_partial_open_lasts_for_4_minutes => super::rfc::tcp::rfc7857_partial_open_lasts_for_4_minutes;
    rfc7857_closing_lasts_for_4_minutes => super::rfc::tcp::rfc7857_closing_lasts_for_4_minutes;
    rfc7857_a_rst_is_translated_and_its_session_lasts_for_4_more_minutes => super::rfc::tcp::rfc7857_a_rst_is_translated_and_its_session_lasts_for_4_more_minutes;
    rfc7857_a_rst_from_off_the_path_does_not_kill_a_connection => super::rfc::tcp::rfc7857_a_rst_from_off_the_path_does_not_kill_a_connection;
    rfc7857_rsts_and_errors_that_answer_do_not_refresh => super::rfc::tcp::rfc7857_rsts_and_errors_that_answer_do_not_refresh;
    rfc5382_req8_two_hosts_connect_by_their_public_ends => super::rfc::tcp::rfc5382_req8_two_hosts_connect_by_their_public_ends;
    rfc5382_req8a_a_hairpins_receiver_sees_the_public_end => super::rfc::tcp::rfc5382_req8a_a_hairpins_receiver_sees_the_public_end;
    rfc5382_req9_and_rfc5382_req10_errors_are_translated_and_end_no_connection => super::rfc::tcp::rfc5382_req9_and_rfc5382_req10_errors_are_translated_and_end_no_connection;
    a_syn_reopens_a_session_that_is_closing => super::rfc::tcp::a_syn_reopens_a_session_that_is_closing;
    an_unknown_segment_from_inside_is_reset_in_profile_aws => super::rfc::tcp::an_unknown_segment_from_inside_is_reset_in_profile_aws;
    rfc4787_req12_icmp_never_removes_a_mapping => super::rfc::icmp::rfc4787_req12_icmp_never_removes_a_mapping;
    rfc5508_req1_a_ping_and_its_answer_pass => super::rfc::icmp::rfc5508_req1_a_ping_and_its_answer_pass;
    rfc5508_req2_a_query_session_lives_for_60_seconds => super::rfc::icmp::rfc5508_req2_a_query_session_lives_for_60_seconds;
    rfc5508_req3_an_error_with_a_wrong_checksum_is_dropped => super::rfc::icmp::rfc5508_req3_an_error_with_a_wrong_checksum_is_dropped;
    rfc5508_req3a_a_quote_with_a_wrong_ip_checksum_is_dropped => super::rfc::icmp::rfc5508_req3a_a_quote_with_a_wrong_ip_checksum_is_dropped;
    rfc5508_req3b_ip_options_in_a_quote_are_skipped => super::rfc::icmp::rfc5508_req3b_ip_options_in_a_quote_are_skipped;
    rfc5508_req3c_a_quoted_transport_checksum_is_not_validated => super::rfc::icmp::rfc5508_req3c_a_quoted_transport_checksum_is_not_validated;
    rfc4884_and_rfc5508_req3d_extensions_are_no_part_of_the_quote => super::rfc::icmp::rfc4884_and_rfc5508_req3d_extensions_are_no_part_of_the_quote;
    rfc5508_req4_an_error_from_outside_is_about_the_inside_packet => super::rfc::icmp::rfc5508_req4_an_error_from_outside_is_about_the_inside_packet;
    rfc5508_req5_and_rfc5508_req5c_an_error_from_inside_shows_the_public_end => super::rfc::icmp::rfc5508_req5_and_rfc5508_req5c_an_error_from_inside_shows_the_public_end;
    rfc5508_req6_errors_neither_refresh_nor_end_a_session => super::rfc::icmp::rfc5508_req6_errors_neither_refresh_nor_end_a_session;
    rfc5508_req7_pings_and_errors_are_hairpinned => super::rfc::icmp::rfc5508_req7_pings_and_errors_are_hairpinned;
    rfc5508_req10_unreachable_time_exceeded_and_echo_are_handled => super::rfc::icmp::rfc5508_req10_unreachable_time_exceeded_and_echo_are_handled;
    rfc5508_req11_other_icmp_is_dropped => super::rfc::icmp::rfc5508_req11_other_icmp_is_dropped;
    rfc768_a_quoted_datagram_without_checksum_stays_without => super::rfc::icmp::rfc768_a_quoted_datagram_without_checksum_stays_without;
    rfc6888_req11d_exhaustion_evicts_no_mapping => super::rfc::limits::rfc6888_req11d_exhaustion_evicts_no_mapping;
    rfc5508_req8_and_rfc6888_req11_exhaustion_is_dropped_told_and_counted => super::rfc::limits::rfc5508_req8_and_rfc6888_req11_exhaustion_is_dropped_told_and_counted;
    rfc6888_req4_and_rfc6888_req5_quotas_hold_for_each_client => super::rfc::limits::rfc6888_req4_and_rfc6888_req5_quotas_hold_for_each_client;
    rfc6888_req6_translation_is_off_where_rules_say_so => super::rfc::limits::rfc6888_req6_translation_is_off_where_rules_say_so;
    rfc6888_req8_a_freed_port_rests_for_120_seconds => super::rfc::limits::rfc6888_req8_a_freed_port_rests_for_120_seconds;
}

fn syn(host: std::net::Ipv4Addr, port: u16, server: std::net::Ipv4Addr) -> Vec<u8> {
    let to = std::net::SocketAddrV4::new(server, 443);
    PacketBuilder::tcp(std::net::SocketAddrV4::new(host, port), to)
        .flags(tcp_flags::SYN)
        .tcp_options(&[2, 4, 5, 0xb4])
        .build()
}

fn pat_keeps_and_overloads(hook: Hook) {
    let mut bench = Bench::new(hook);
    let mut port = |host, server| {
        let out = bench.run(PRIVATE, &syn(host, 40_001, server));
        bench::source(out.forwarded().unwrap())
    };
    let first = port(addresses::PRIVATE_A, addresses::SERVER);
    assert_eq!((*first.ip(), first.port()), (addresses::NAT_PUBLIC, 40_001));
    let second = port(addresses::PRIVATE_B, addresses::SERVER);
    assert_eq!(*second.ip(), addresses::NAT_PUBLIC);
    assert_ne!(second.port(), 40_001, "taken towards this server");
    let other = port(addresses::PRIVATE_B, addresses::OTHER_SERVER);
    assert_eq!(other.port(), 40_001, "free towards that server");
    let again = port(addresses::PRIVATE_B, addresses::SERVER);
    assert_eq!(again, second, "one session, one mapping");
}

fn one_to_one_needs_no_session(hook: Hook) {
    let mut bench = Bench::new(hook);
    let mut judge = Judge::new(&bench);
    let client = std::net::SocketAddrV4::new(addresses::SERVER, 50_000);
    let public = std::net::SocketAddrV4::new(addresses::WEB_PUBLIC, 80);
    for length in [0, 1, 7, 1400] {
        let packet = PacketBuilder::udp(client, public)
            .payload_len(length)
            .build();
        judged(&mut bench, &mut judge, Side::Uplink, &packet).expect("goes in");
        let web = std::net::SocketAddrV4::new(addresses::WEB_PRIVATE, 80);
        let packet = PacketBuilder::udp(web, client).payload_len(length).build();
        judged(&mut bench, &mut judge, PUBLIC, &packet).expect("goes out");
    }
    assert_eq!(bench.sessions(), 0);
}

fn zero_checksum_corner(hook: Hook) {
    let mut bench = Bench::new(hook);
    let mut judge = Judge::new(&bench);
    let host = std::net::SocketAddrV4::new(addresses::PRIVATE_A, 40_001);
    let server = std::net::SocketAddrV4::new(addresses::SERVER, 53);
    let public = std::net::SocketAddrV4::new(addresses::NAT_PUBLIC, 40_001);
    // The payload that gives the translated packet an all-ones checksum gives this one another.
    let outside =
        with_transport_checksum(&PacketBuilder::udp(public, server).payload_len(5), 0xffff);
    let inside = outside.clone().source(*host.ip()).build();
    let out = judged(&mut bench, &mut judge, PRIVATE, &inside).expect("goes out");
    assert_eq!(&out[40..42], [0xff, 0xff]);
    let unsummed = PacketBuilder::udp(host, server)
        .without_udp_checksum()
        .payload_len(5)
        .build();
    let out = judged(&mut bench, &mut judge, PRIVATE, &unsummed).expect("goes out");
    assert_eq!(&out[40..42], [0, 0]);
}

/// All words under its checksum become zero, whose sum is another zero than that of words that cancel
/// each other out.
fn zeros_alone(hook: Hook) {
    let mut bench = Bench::new(hook);
    let ping = |host, id| PacketBuilder::echo_request(host, addresses::SERVER, id, 0);
    // Somebody else has the identifier 0 outside already, or it is not in the pool.
    let out = bench.run(
        PRIVATE,
        &ping(addresses::PRIVATE_A, 0).payload_len(0).build(),
    );
    let id = bench::source(out.forwarded().unwrap()).port();
    assert_ne!(id, 0);
    let answer = PacketBuilder::echo_reply(addresses::SERVER, addresses::NAT_PUBLIC, id, 0)
        .payload_len(0)
        .build();
    let back = bench.run(Side::Uplink, &answer);
    let back = back.forwarded().unwrap();
    assert_eq!(&back[34..42], [0, 0, 0xff, 0xff, 0, 0, 0, 0]);
    assert!(nat_tests::packets::checksum_errors(back).is_empty());
}

fn arp(hook: Hook) {
    let mut bench = Bench::new(hook);
    let mut judge = Judge::new(&bench);
    let ask = |target| arp_request(nat_tests::packets::Mac::SENDER, addresses::SERVER, target);
    for target in [
        addresses::NAT_PUBLIC,
        addresses::WEB_PUBLIC,
        addresses::OTHER_SERVER,
    ] {
        for ingress in [Side::Uplink, PRIVATE] {
            judged(&mut bench, &mut judge, ingress, &ask(target));
        }
    }
    assert_eq!(bench.counter("arp_answered"), 2);
}

fn unknown_neighbour(hook: Hook) {
    let mut bench = Bench::new(hook);
    let packet = syn(addresses::PRIVATE_A, 40_001, network::NEVER_SEEN);
    let out = bench.run(PRIVATE, &packet);
    match hook {
        // XDP leaves it unchanged to TC, whose session is the one XDP made.
        Hook::Xdp => assert!(out.forwarded().is_none()),
        Hook::Tc => assert!(out.forwarded().is_some()),
    }
    assert_eq!(bench.sessions(), 1);
}

/// With the outside half of a session entered first, and with the inside one.
fn full_table(hook: Hook) {
    let aws = NatGateway::new(vec![addresses::NAT_PUBLIC]);
    fill(Bench::with_capacity(hook, 1024, aws.clone()));
    let rfc = aws.rfc(Filtering::AddressDependent);
    fill(Bench::with_capacity(hook, 1024, rfc));
}

fn fill(mut bench: Bench) {
    let host = std::net::SocketAddrV4::new(addresses::PRIVATE_A, 40_001);
    let session = |number: u16| {
        let server = std::net::SocketAddrV4::new(addresses::SERVER, 10_000 + number);
        let packet = PacketBuilder::tcp(host, server);
        packet.flags(tcp_flags::SYN).build()
    };
    let mut dropped = 0;
    const TRIED: u32 = 2000;
    for number in 0..TRIED as u16 {
        dropped += u32::from(bench.run_for_verdict(PRIVATE, &session(number)) == "table_full");
    }
    assert_eq!(bench.drops("table_full"), u64::from(dropped));
    let sessions = bench.sessions() as u32;
    assert_eq!(sessions, TRIED - dropped);
    // A table has more lines than sessions it is made for, by a third.
    assert!((1024..1400).contains(&sessions), "{sessions}");
    assert!(
        bench.run(PRIVATE, &session(0)).forwarded().is_some(),
        "the first session is still there"
    );
    let reverse = bench.reverse_sessions();
    assert_eq!(
        reverse,
        bench.sessions(),
        "a failed claim gives its port back"
    );
}

/// As a kernel before 6.15 leaves it when it refuses a removal: marked dead, and still there.
fn leftovers(hook: Hook) {
    let gateway = NatGateway {
        ports: vec![2000..=2000],
        ..short_lived()
    };
    let mut bench = Bench::with_gateway(hook, gateway);
    let packet = syn(addresses::PRIVATE_A, 40_001, addresses::SERVER);
    let rival = syn(addresses::PRIVATE_B, 40_001, addresses::SERVER);
    assert!(bench.run(PRIVATE, &packet).forwarded().is_some());
    bench.mark_all_reverse_halves_dead();
    let mut found = Vec::new();
    let mut leftovers = Leftovers::default();
    for seconds in [0, 1, 8, 2] {
        bench.advance(Duration::from_secs(seconds));
        bench.remove_leftovers(&mut leftovers);
        found.push(bench.reverse_sessions());
    }
    assert_eq!(
        found,
        [1, 1, 1, 0],
        "the second look is ten seconds after the first"
    );
    assert!(rfc::swept(&mut bench) > 0, "what is idle ends");
    let out = bench.run(PRIVATE, &rival);
    assert!(out.forwarded().is_some(), "the only port is free again");
    for _ in 0..3 {
        bench.advance(Duration::from_secs(11));
        bench.remove_leftovers(&mut leftovers);
    }
    assert_eq!(bench.reverse_sessions(), 1, "what lives is left alone");
}

fn race(hook: Hook) {
    const FLOWS: u16 = 2000;
    const CPUS: usize = 2;
    let mut bench = Bench::new(hook);
    let packets: Vec<_> = (0..FLOWS)
        .map(|number| {
            // Two hosts that want the same port, so that claims collide as well.
            let host = [addresses::PRIVATE_A, addresses::PRIVATE_B][usize::from(number % 2)];
            syn(host, 20_000 + number / 2, addresses::SERVER)
        })
        .collect();
    let seen = bench.run_on_cpus(CPUS, PRIVATE, &packets);
    for (number, packet) in packets.iter().enumerate() {
        let mappings: Vec<_> = seen.iter().map(|cpu| bench::source(&cpu[number])).collect();
        assert!(
            mappings.iter().all(|mapping| *mapping == mappings[0]),
            "{packet:02x?}: {mappings:?}"
        );
    }
    let mut taken: Vec<_> = seen[0].iter().map(|frame| bench::source(frame)).collect();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(
        taken.len(),
        usize::from(FLOWS),
        "no public tuple serves two sessions"
    );
    assert_eq!(bench.sessions(), usize::from(FLOWS));
    assert_eq!(
        bench.reverse_sessions(),
        usize::from(FLOWS),
        "no claim leaks"
    );
}

/// The classic gateway with sessions that last a second.
fn short_lived() -> NatGateway {
    let second = Duration::from_secs(1);
    NatGateway {
        timeouts: Timeouts {
            tcp: second,
            tcp_opening: second,
            tcp_closing: second,
            udp: second,
            udp_stream: second,
            icmp: second,
        },
        ..NatGateway::new(vec![addresses::NAT_PUBLIC])
    }
}

fn expiry(hook: Hook) {
    let over = Duration::from_millis(1600);
    let mut bench = Bench::with_gateway(hook, short_lived());
    let host = std::net::SocketAddrV4::new(addresses::PRIVATE_A, 40_001);
    let server = std::net::SocketAddrV4::new(addresses::SERVER, 53);
    let public = std::net::SocketAddrV4::new(addresses::NAT_PUBLIC, 40_001);
    let out = PacketBuilder::udp(host, server).payload_len(3).build();
    let back = PacketBuilder::udp(server, public).payload_len(3).build();
    assert!(bench.run(PRIVATE, &out).forwarded().is_some());
    for (ingress, packet) in [(PRIVATE, &out), (Side::Uplink, &back)] {
        bench.advance(over);
        assert_eq!(bench.sweep(), 0, "the first step only marks it");
        assert!(bench.run(ingress, packet).forwarded().is_some());
        assert_eq!(bench.sweep(), 0, "it just carried a packet by {ingress:?}");
        assert_eq!(bench.sessions(), 1);
    }
    assert_eq!(bench.counter("sessions_revived"), 2);
    bench.advance(over);
    let mut removed = 0;
    for _ in 0..3 {
        removed += bench.sweep();
    }
    assert_eq!(removed, 1);
    assert_eq!(
        (bench.sessions(), bench.reverse_sessions()),
        (0, 0),
        "both halves are gone"
    );
    assert!(bench.run(Side::Uplink, &back).forwarded().is_none());
}

/// A sweep has marked the session as idle, and a SYN from outside makes another one of it.
fn reopening_a_marked_session(hook: Hook) {
    let mut bench = Bench::with_gateway(hook, short_lived());
    let host = std::net::SocketAddrV4::new(addresses::PRIVATE_A, 40_001);
    let server = std::net::SocketAddrV4::new(addresses::SERVER, 443);
    let public = std::net::SocketAddrV4::new(addresses::NAT_PUBLIC, 40_001);
    let outward = |flags| PacketBuilder::tcp(host, server).flags(flags).build();
    let inward = |flags| PacketBuilder::tcp(server, public).flags(flags).build();
    let passes = |bench: &mut Bench, ingress, packet: Vec<u8>| {
        assert!(bench.run(ingress, &packet).forwarded().is_some());
    };
    passes(&mut bench, PRIVATE, outward(tcp_flags::SYN));
    passes(
        &mut bench,
        Side::Uplink,
        inward(tcp_flags::SYN | tcp_flags::ACK),
    );
    passes(&mut bench, Side::Uplink, inward(tcp_flags::RST));
    assert_eq!(bench.records()[0].state, "reset");
    bench.advance(Duration::from_millis(1600));
    assert_eq!(bench.sweep(), 0, "the first step only marks it");
    passes(&mut bench, Side::Uplink, inward(tcp_flags::SYN));
    assert_eq!(bench.records()[0].state, "opening");
    assert_eq!(bench.sweep(), 0, "it is in use");
}

fn no_subnet(hook: Hook) {
    let mut bench = Bench::new(hook);
    let nowhere = std::net::Ipv4Addr::new(10, 20, 77, 7);
    bench.run(PRIVATE, &syn(addresses::PRIVATE_A, 40_001, nowhere));
    assert_eq!(bench.drops("no_route"), 1);
    let outcome = bench.run(
        PRIVATE,
        &syn(addresses::PRIVATE_A, 40_001, addresses::WEB_PRIVATE),
    );
    assert!(
        outcome.forwarded().is_some(),
        "a subnet that is there: {outcome:?}"
    );
}

/// Three hosts that want the same ports, so that two thirds of the sessions have to search.
fn contenders(ports_each: u16) -> Vec<Vec<u8>> {
    let hosts = [7, 8, 9].map(|last| std::net::Ipv4Addr::new(10, 40, 2, last));
    hosts
        .iter()
        .flat_map(|host| (0..ports_each).map(|port| syn(*host, 1024 + port, addresses::SERVER)))
        .collect()
}

fn full_pool(hook: Hook) {
    const POOL: usize = 65_535 - 1024 + 1;
    let mut bench = Bench::new(hook);
    let packets = contenders((POOL / 3) as u16);
    let seen = bench.run_on_cpus(1, PRIVATE, &packets);
    let mut taken: Vec<_> = seen[0]
        .iter()
        .map(|frame| bench::source(frame).port())
        .collect();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(
        taken.len(),
        POOL,
        "every port of the pool serves one session"
    );
    for _ in 0..20 {
        let late = syn(addresses::PRIVATE_A, 50_000, addresses::SERVER);
        assert!(bench.run(PRIVATE, &late).forwarded().is_none());
    }
    assert_eq!(bench.drops("port_exhausted"), 20);
    let elsewhere = syn(addresses::PRIVATE_A, 50_000, addresses::OTHER_SERVER);
    let out = bench.run(PRIVATE, &elsewhere);
    assert_eq!(
        bench::source(out.forwarded().unwrap()).port(),
        50_000,
        "another server is free"
    );
}

fn freed_port(hook: Hook) {
    let gateway = NatGateway {
        ports: vec![2000..=2002],
        ..short_lived()
    };
    let mut bench = Bench::with_gateway(hook, gateway);
    for packet in contenders(1) {
        assert!(bench.run(PRIVATE, &packet).forwarded().is_some());
    }
    let late = syn(addresses::PRIVATE_A, 50_000, addresses::SERVER);
    assert!(bench.run(PRIVATE, &late).forwarded().is_none());
    bench.advance(Duration::from_millis(1200));
    assert!(
        bench.run(PRIVATE, &late).forwarded().is_none(),
        "idle is not ended"
    );
    assert!(rfc::swept(&mut bench) > 0, "what is idle ends");
    assert!(bench.run(PRIVATE, &late).forwarded().is_some());
}

fn other_station(hook: Hook) {
    use nat_tests::packets::Mac;
    let mut bench = Bench::new(hook);
    let mut frame = syn(addresses::PRIVATE_A, 40_001, addresses::SERVER);
    for station in [Mac([2, 0xaa, 0xbb, 0xcc, 0xdd, 0xee]), Mac::BROADCAST] {
        frame[..6].copy_from_slice(&station.0);
        let outcome = bench.run(PRIVATE, &frame);
        assert!(matches!(outcome, bench::Outcome::Pass(_)), "{outcome:?}");
    }
    assert_eq!(bench.sessions(), 0);
}

fn spoofed_outside(hook: Hook) {
    let mut bench = Bench::new(hook);
    let web = std::net::SocketAddrV4::new(addresses::WEB_PUBLIC, 80);
    let senders = [
        "10.40.2.77",
        "10.20.1.10",
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
    ];
    for sender in senders {
        let sender = std::net::SocketAddrV4::new(sender.parse().unwrap(), 4000);
        let packet = PacketBuilder::udp(sender, web).payload_len(4).build();
        assert!(
            bench.run(Side::Uplink, &packet).forwarded().is_none(),
            "{sender}"
        );
    }
    assert_eq!(bench.drops("spoofed_source"), senders.len() as u64);
}

fn subnet_gone(hook: Hook) {
    let mut bench = Bench::new(hook);
    let host = std::net::SocketAddrV4::new(addresses::PRIVATE_A, 40_001);
    let server = std::net::SocketAddrV4::new(addresses::SERVER, 53);
    let public = std::net::SocketAddrV4::new(addresses::NAT_PUBLIC, 40_001);
    let out = PacketBuilder::udp(host, server).payload_len(3).build();
    assert!(bench.run(PRIVATE, &out).forwarded().is_some());
    bench.take_down(PRIVATE);
    let back = PacketBuilder::udp(server, public).payload_len(3).build();
    assert_eq!(bench.run_for_verdict(Side::Uplink, &back), "no_next_hop");
}

fn closed_host(hook: Hook) {
    let mut bench = Bench::on_closed_host(hook);
    let sender = std::net::SocketAddrV4::new(addresses::SERVER, 4000);
    let mut to = |ip: &str| {
        let receiver = std::net::SocketAddrV4::new(ip.parse().unwrap(), 22);
        bench.run_for_verdict(Side::Uplink, &PacketBuilder::udp(sender, receiver).build())
    };
    assert_eq!(to("198.51.100.1"), "pass", "the host itself");
    assert_eq!(to("224.0.0.251"), "pass", "multicast");
    assert_eq!(to("198.51.100.81"), "not_for_this_host");
    assert_eq!(to("10.40.2.101"), "private_destination");
}
