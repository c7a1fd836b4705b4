//! End-to-end tests: real traffic through the program `nat` in labs of network namespaces, on every hook.
//! The labs are in netns/; the tests are grouped by subject in end_to_end/. They need root and a built `nat`.
#[path = "end_to_end/addresses.rs"]
mod addresses;
#[path = "end_to_end/api.rs"]
mod api;
#[path = "end_to_end/applies.rs"]
mod applies;
#[path = "end_to_end/attempts.rs"]
mod attempts;
#[path = "end_to_end/connections.rs"]
mod connections;
#[path = "end_to_end/controller.rs"]
mod controller;
#[path = "end_to_end/deterministic.rs"]
mod deterministic;
#[path = "end_to_end/exempt.rs"]
mod exempt;
#[path = "end_to_end/exhaustion.rs"]
mod exhaustion;
#[path = "end_to_end/explain.rs"]
mod explain;
#[path = "end_to_end/explain_internet.rs"]
mod explain_internet;
#[path = "end_to_end/forwarding.rs"]
mod forwarding;
#[path = "end_to_end/fragments.rs"]
mod fragments;
#[path = "end_to_end/hairpin.rs"]
mod hairpin;
#[path = "end_to_end/hops.rs"]
mod hops;
#[path = "end_to_end/icmp_errors.rs"]
mod icmp_errors;
#[path = "end_to_end/map_bytes.rs"]
mod map_bytes;
#[path = "end_to_end/mapping.rs"]
mod mapping;
#[path = "end_to_end/messages.rs"]
mod messages;
#[path = "end_to_end/metrics.rs"]
mod metrics;
#[path = "end_to_end/nat_instance.rs"]
mod nat_instance;
#[path = "end_to_end/path_mtu.rs"]
mod path_mtu;
#[path = "end_to_end/pictures.rs"]
mod pictures;
#[path = "end_to_end/reload.rs"]
mod reload;
#[path = "end_to_end/restart.rs"]
mod restart;
#[path = "end_to_end/standing.rs"]
mod standing;
#[path = "end_to_end/two_policies.rs"]
mod two_policies;
#[path = "end_to_end/volume.rs"]
mod volume;
#[path = "end_to_end/vpc/mod.rs"]
mod vpc;

use vpc::{
    acls, appliances, changes, dns, endpoints_shown, gateway_endpoints, gateways, groups, metadata,
    metadata_attacked, private_link, proxies, routing, senders, side_by_side,
};

/// One module per hook, with a test of the same name for each function given.
macro_rules! on_every_hook {
    ($($subject:ident::$test:ident),* $(,)?) => {
        on_every_hook!(@hook xdp, Xdp, $($subject::$test),*);
        on_every_hook!(@hook xdp_generic, XdpGeneric, $($subject::$test),*);
        on_every_hook!(@hook tc, Tc, $($subject::$test),*);
    };
    (@hook $module:ident, $hook:ident, $($subject:ident::$test:ident),*) => {
        mod $module {
            $(
                #[test]
                fn $test() {
                    crate::$subject::$test(nat_tests::netns::Hook::$hook);
                }
            )*
        }
    };
}

/// Native XDP and TC alone.
macro_rules! on_both_hooks {
    ($($subject:ident::$test:ident),* $(,)?) => {
        on_every_hook!(@hook decisions_xdp, Xdp, $($subject::$test),*);
        on_every_hook!(@hook decisions_tc, Tc, $($subject::$test),*);
    };
}

/// TC alone.
macro_rules! on_tc {
    ($($subject:ident::$test:ident),* $(,)?) => {
        on_every_hook!(@hook tools, Tc, $($subject::$test),*);
    };
}

on_every_hook! {
    controller::main_job_holds,
    controller::kill_minus_nine_keeps_connections_and_a_new_controller_adopts_them,
    controller::sessions_expire_after_their_timeout,
    controller::down_leaves_nothing,
    controller::nothing_attached_on_bad_config,
    applies::a_hundred_applies_a_second_lose_nothing,
    volume::a_large_file_arrives_identical,
    volume::ten_thousand_short_connections_none_fails,
    icmp_errors::a_closed_port_outside_is_told_to_the_socket_inside,
    icmp_errors::a_closed_port_inside_is_told_to_the_socket_outside,
    nat_instance::host_traffic_is_untouched,
    nat_instance::one_arm_nat_instance,
    nat_instance::rfc4787_req7_a_network_is_not_inside_and_outside,
    fragments::rfc4787_req14_large_datagrams_pass_both_ways,
    fragments::rfc4787_req14_fragments_pass_out_of_order,
    fragments::rfc6864_hosts_with_the_same_ip_id_are_kept_apart,
    fragments::a_large_ping_is_answered,
    fragments::fragmented_tcp_segments_arrive,
    fragments::rfc4787_req14a_a_flood_of_fragments_hurts_nobody_else,
    fragments::unsolicited_fragments_reach_nobody,
    hairpin::rfc4787_req9_a_private_host_reaches_another_ones_elastic_ip,
    hairpin::rfc5508_req7_two_elastic_ips_reach_each_other,
    hairpin::rfc4787_req9_a_host_reaches_itself_by_its_own_elastic_ip,
    hairpin::rfc5508_req7_a_hairpinned_packets_error_comes_back,
    hairpin::rfc4787_req9_a_forwarded_port_is_reached_from_inside,
    hairpin::a_two_arm_instance_loops_a_forwarded_port_back,
    hairpin::a_one_arm_instance_loops_a_forwarded_port_back,
    hops::every_hop_answers_a_traceroute_from_inside,
    hops::every_hop_answers_a_traceroute_from_outside,
    hops::icmp_errors_made_here_are_limited,
    path_mtu::tcp_finds_a_narrow_link_behind_the_edge,
    path_mtu::tcp_finds_the_edges_own_narrow_uplink,
    path_mtu::udp_is_told_of_a_narrow_link_behind_the_edge,
    path_mtu::rfc4787_req13_the_edge_tells_the_inside_of_its_narrow_uplink,
    path_mtu::the_edge_tells_the_outside_of_a_narrow_link_inside,
    path_mtu::rfc4787_req13a_datagrams_that_may_be_cut_leave_by_a_narrow_uplink,
    path_mtu::rfc4787_req13a_datagrams_that_may_be_cut_reach_a_narrow_link_inside,
    path_mtu::a_jumbo_datagram_is_cut_into_many,
}

// What policy and tables say is the same program's on every driver.
on_both_hooks! {
    addresses::rfc4787_req2_a_client_stays_on_one_public_ip,
    addresses::profile_aws_spills_over_to_the_next_public_ip,
    addresses::rfc4787_req2_profile_rfc_never_moves_a_client,
    addresses::an_address_may_have_ports_of_its_own,
    addresses::rfc6888_req4_a_client_has_no_more_sessions_than_its_quota,
    addresses::rfc6888_req4_a_client_has_no_more_ports_than_its_quota,
    connections::rfc5382_req2_a_simultaneous_open_in_profile_aws,
    connections::rfc5382_req2_a_simultaneous_open_in_profile_rfc,
    connections::rfc5382_req3_connections_are_let_in_as_configured,
    connections::rfc5382_req4_an_unsolicited_syn_waits_for_one_from_inside,
    connections::a_port_is_used_again_at_once,
    connections::a_forgotten_connection_is_reset_in_profile_aws,
    connections::a_connection_of_before_nat_down_is_reset_in_profile_aws,
    connections::a_forgotten_connection_hears_nothing_in_profile_rfc,
    deterministic::rfc7422_lookup_agrees_with_what_servers_see,
    deterministic::rfc7422_a_client_has_its_block_and_no_more,
    deterministic::lookup_names_the_host_of_a_forward,
    exempt::an_exempt_destination_sees_the_private_source,
    exempt::fragments_to_an_exempt_destination_pass,
    exempt::a_private_address_is_reached_by_exempt_sources_only,
    exhaustion::every_port_serves_one_destination_before_one_connection_is_refused,
    exhaustion::rfc5508_req8_exhaustion_is_told_as_configured,
    exhaustion::exhaustion_is_silent_where_asked,
    forwarding::a_nat_instance_forwards_ports_and_keeps_its_own,
    forwarding::a_one_arm_instance_forwards_ports,
    forwarding::forwards_of_a_configuration_let_anybody_in,
    forwarding::a_forwarded_host_keeps_its_public_port_on_its_way_out,
    forwarding::a_forwarded_port_is_given_to_nobody_else,
    mapping::profile_aws_is_address_and_port_dependent_in_mapping_and_filtering,
    mapping::rfc4787_req1_mapping_is_endpoint_independent,
    mapping::rfc4787_req8_filtering_is_endpoint_independent_where_asked,
    mapping::rfc4787_req8_filtering_is_address_dependent_where_asked,
    mapping::rfc4787_req8_filtering_is_address_and_port_dependent_where_asked,
    mapping::rfc4787_req9a_a_hairpinned_packet_shows_its_external_source,
    mapping::a_hairpinned_packet_is_filtered_as_one_from_outside,
    mapping::rfc4787_req3_two_endpoints_never_share_a_port,
    mapping::rfc4787_req3a_req4_class_and_parity_of_a_port_are_kept,
    mapping::rfc4787_req6_inbound_traffic_does_not_refresh,
    mapping::a_nat_instance_takes_profile_and_filtering,
    mapping::rfc6888_req8_a_freed_port_rests,
    mapping::rfc4787_req12_an_icmp_error_ends_no_mapping,
    mapping::rfc5508_req1a_a_query_id_is_mapped_independently_of_the_host_asked,
    mapping::rfc5382_req1_a_connections_port_is_mapped_independently_of_the_server,
    metrics::nat_gateway_connections_are_counted_while_they_live_and_when_they_are_over,
    metrics::nat_gateway_what_is_not_translated_is_counted_by_its_cause,
    metrics::nat_gateway_another_one_begins_at_nothing,
    metrics::nat_gateway_prometheus_reads_its_figures,
    messages::rfc6888_req11c_and_req12_refusals_are_logged_without_their_destination,
    messages::rfc6888_req12_destinations_are_logged_where_asked,
    messages::rfc6888_req11c_a_full_table_is_logged_and_serves_again,
    reload::a_changed_configuration_is_taken_up_and_connections_go_on,
    reload::nat_gateway_a_public_ip_that_is_given_up_drains,
    reload::a_reload_that_is_refused_changes_nothing,
    reload::rfc4787_req2_a_client_stays_on_its_public_ip_when_others_go,
    restart::mappings_and_forwards_outlive_their_controller,
    restart::a_new_controller_takes_up_new_forwards,
    restart::lines_of_an_earlier_controller_lead_nowhere,
    pictures::internet_gateway_picture_holds,
    pictures::nat_instance_picture_holds,
    pictures::gateway_endpoint_picture_holds,
    pictures::interface_endpoint_picture_holds,
    pictures::endpoint_service_picture_holds,
    pictures::proxy_picture_holds,
    pictures::metadata_picture_holds,
    acls::nacl_the_lowest_matching_number_decides,
    acls::nacl_without_a_match_denies,
    acls::nacl_is_stateless,
    acls::nacl_is_evaluated_at_the_subnet_boundary_only,
    acls::nacl_of_the_nat_gateways_subnet_counts,
    acls::nacl_default_serves_subnets_that_name_none,
    appliances::a_nat_instance_masquerades_for_a_private_subnet,
    appliances::a_nat_instances_groups_hold_for_what_it_forwards,
    appliances::source_dest_check_drops_what_an_instance_forwards,
    appliances::a_transparent_router_stands_between_subnets,
    appliances::tracked_flows_pass_a_transparent_router,
    changes::a_change_elsewhere_keeps_mappings_under_live_traffic,
    changes::a_forbidden_connection_stops_for_a_counted_reason,
    gateways::internet_gateway_takes_all_of_its_conditions,
    gateways::a_private_nat_gateway_translates_to_its_private_ip,
    gateways::a_nat_gateway_never_answers_ping,
    groups::sg_a_new_group_lets_nothing_in_and_everything_out,
    groups::sg_rules_of_all_groups_hold_together,
    groups::sg_references_to_groups_and_prefix_lists,
    groups::sg_icmp_errors_of_tracked_flows_pass,
    groups::sg_and_nacl_rules_about_ports_let_fragments_pass,
    groups::sg_tracked_flows_survive_a_rules_removal,
    groups::sg_groups_are_added_under_live_connections,
    routing::subnets_on_two_interfaces_reach_each_other,
    routing::two_subnets_on_one_interface_reach_each_other,
    routing::a_routed_packet_is_one_hop_older,
    routing::path_mtu_is_found_between_subnets,
    routing::the_router_answers_arp_and_ping_without_a_host_address,
    routing::the_host_answers_where_it_has_the_routers_address,
    routing::route_tables_longest_prefix_wins,
    routing::route_tables_a_written_route_beats_a_prefix_list,
    routing::route_tables_the_main_table_serves_the_rest,
    senders::a_source_of_another_subnet_is_spoofed,
    senders::nobody_else_sends_from_an_instances_address_and_mac,
    senders::a_strict_vpc_serves_listed_instances_alone,
    side_by_side::vpcs_with_the_same_addresses_work_at_once,
    side_by_side::vpcs_with_the_same_addresses_never_meet,
    side_by_side::vpcs_reach_each_other_as_from_outside,
    metadata::imds_tells_instances_of_vpcs_with_the_same_addresses_apart,
    metadata::imds_can_not_be_blocked,
    metadata::imds_public_ipv4_is_what_the_gateway_maps_now,
    metadata::imds_is_not_told_to_who_spoofs,
    metadata::imds_is_not_there_from_outside,
    metadata::imds_tokens_hold_across_a_restart,
    metadata::imds_leaves_no_interface_behind,
    metadata::imds_hop_limit_is_the_ttl_of_the_put_response,
    metadata::imds_answers_curl,
    metadata::imds_a_stock_sdk_learns_its_region,
    gateway_endpoints::gateway_endpoint_keeps_the_source,
    gateway_endpoints::gateway_endpoint_lets_nobody_in,
    gateway_endpoints::gateway_endpoint_serves_vpcs_with_the_same_addresses,
    gateway_endpoints::gateway_endpoint_policy_holds,
    gateway_endpoints::endpoint_errors_reach_the_sender,
    gateway_endpoints::gateway_endpoint_takes_sources_of_the_vpc_alone,
    gateway_endpoints::interface_endpoint_stands_for_an_address_outside,
    gateway_endpoints::interface_endpoint_is_spoofed_by_no_neighbour_of_its_target,
    proxies::proxy_gets_what_leaves_the_vpc,
    proxies::proxy_that_is_down_fails_closed_or_open,
    private_link::private_link_connects_vpcs_with_the_same_addresses,
    private_link::private_link_answers_go_to_the_vpc_that_asked,
    private_link::private_link_is_opened_by_the_consumer_alone,
    private_link::private_link_waits_until_it_is_accepted,
    private_link::private_link_flows_keep_their_target,
    private_link::private_link_avoids_a_target_that_is_dead,
    private_link::private_link_tells_targets_who_it_is_by_proxy_protocol,
    private_link::private_link_carries_fragments,
    private_link::private_link_asks_the_groups_of_both_vpcs,
    private_link::private_link_is_explained,
    dns::dns_answers_instances_about_their_own_vpc,
    dns::dns_tells_vpcs_with_the_same_addresses_apart,
    dns::dns_of_others_is_forwarded,
    dns::dns_comes_and_goes_with_a_reload,
    metadata_attacked::imds_what_is_no_request_goes_nowhere,
    metadata_attacked::imds_nobody_else_speaks_for_the_service,
    metadata_attacked::imds_one_host_takes_no_ports_of_others,
}

// What the controller and the command line do is the same on every hook.
on_tc! {
    pictures::placement_picture_holds,
    explain::explain_agrees_about_a_nat_gateway,
    explain::explain_agrees_about_acls_and_groups_within_the_vpc,
    explain::explain_agrees_about_routes,
    explain::explain_agrees_about_packets_from_outside,
    explain::explain_changes_nothing,
    explain_internet::explain_names_what_the_internet_gateway_lacks_first,
    explain_internet::routes_and_instances_are_shown_as_they_are_held,
    api::a_file_is_compared_and_applied,
    api::an_object_of_the_api_outlives_its_controller,
    api::routes_to_a_deleted_gateway_are_blackholes,
    api::placement_is_planned_and_enforced_by_the_controller,
    endpoints_shown::endpoints_are_shown_as_they_are_held,
    endpoints_shown::endpoints_are_accepted_and_rejected_at_run_time,
}
