//! End-to-end tests: real traffic through the program `nat` in labs of network namespaces, on every hook.
//! The labs are in netns/; the tests are grouped by subject in end_to_end/. They need root and a built `nat`.
#[path = "end_to_end/controller.rs"]
mod controller;
#[path = "end_to_end/icmp_errors.rs"]
mod icmp_errors;
#[path = "end_to_end/nat_instance.rs"]
mod nat_instance;
#[path = "end_to_end/standing.rs"]
mod standing;
#[path = "end_to_end/volume.rs"]
mod volume;

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

on_every_hook! {
    controller::main_job_holds,
    controller::kill_minus_nine_keeps_connections_and_a_new_controller_adopts_them,
    controller::sessions_expire_after_their_timeout,
    controller::down_leaves_nothing,
    controller::nothing_attached_on_bad_config,
    volume::a_large_file_arrives_identical,
    volume::ten_thousand_short_connections_none_fails,
    icmp_errors::a_closed_port_outside_is_told_to_the_socket_inside,
    icmp_errors::a_closed_port_inside_is_told_to_the_socket_outside,
    nat_instance::host_traffic_is_untouched,
    nat_instance::one_arm_nat_instance,
}
