//! Other ways to start a connection, and other names for the same server.

use super::stage::{Stage, User};
use governor_tests::network::{self, alone};
use std::net::TcpListener;

/// What any program may do, from a plain `connect()` to one that the kernel makes in a thread of its own.
const WAYS: [&str; 22] = [
    "plain",
    "nonblocking",
    "bound_address",
    "bound_port",
    "bound_late",
    "free_bind",
    "unicast_interface",
    "again",
    "twice",
    "after_refusal",
    "multipath",
    "smc",
    "smc_family",
    "thread",
    "fastopen_sendto",
    "fastopen_sendmsg",
    "fastopen_connect",
    "ring_inline",
    "ring_async",
    "ring_polled",
    "ring_socket",
    "ring_fastopen",
];

#[test]
fn every_way_to_connect_is_governed_under_its_own_process() {
    alone(|| {
        let stage = Stage::set();
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        let other_port = elsewhere.local_addr().unwrap().port().to_string();
        let mut governed = 0;
        for way in WAYS {
            let answer = stage.ask(User::Nobody, way, "127.0.0.1", &[&other_port]);
            match answer.absent() {
                Some(why) => println!("not on this kernel: {way} ({why})"),
                None => {
                    stage.assert_governed(&answer);
                    governed += 1;
                }
            }
        }
        assert!(governed >= 15, "only {governed} ways are on this kernel");
        stage.assert_nothing_went_around();
    })
    .unwrap();
}

#[test]
fn every_name_of_the_server_is_governed() {
    alone(|| {
        let stage = Stage::set();
        for host in [
            "127.0.0.2",
            "127.255.255.254",
            "0.0.0.0",
            "10.77.0.1",
            "::1",
            "::",
            "fd77::1",
            "::ffff:127.0.0.1",
            "::ffff:127.0.0.2",
            "::ffff:0.0.0.0",
            "::ffff:10.77.0.1",
        ] {
            for way in ["plain", "multipath", "fastopen_sendto", "ring_async"] {
                let answer = stage.ask(User::Nobody, way, host, &[]);
                match answer.absent() {
                    Some(why) => println!("not on this kernel: {way} ({why})"),
                    None => stage.assert_governed(&answer),
                }
            }
        }
        stage.assert_nothing_went_around();
    })
    .unwrap();
}

/// A binding to a device cannot be kept, because it would not reach governor: who may undo it is governed, others are refused.
#[test]
fn a_device_a_mark_and_a_source_route_lead_nowhere_else() {
    alone(|| {
        let stage = Stage::set();
        for device in ["lo", "cable0"] {
            stage.assert_refused(&stage.ask(User::Nobody, "device", "10.77.0.1", &[device]), "EPERM");
            stage.assert_governed(&stage.ask(User::Root, "device", "10.77.0.1", &[device]));
        }
        // Marked packets take a table of their own, in which everything is local.
        network::ip(&["rule", "add", "fwmark", "77", "lookup", "77"]).unwrap();
        network::ip(&["route", "add", "local", "default", "dev", "lo", "table", "77"]).unwrap();
        stage.assert_refused(&stage.ask(User::Nobody, "firewall_mark", "127.0.0.1", &["77"]), "EPERM");
        stage.assert_governed(&stage.ask(User::Root, "firewall_mark", "127.0.0.1", &["77"]));
        // The kernel drops source routes by default; whatever it does, the server is not asked.
        let routed = stage.ask(User::Nobody, "source_route", "127.0.0.1", &["10.77.0.1"]);
        assert_eq!(stage.heard(&routed.marker), stage.records_of(&routed.marker).len(), "{routed:?}");
        println!("a source route: {}", routed.outcome());
        stage.assert_nothing_went_around();
    })
    .unwrap();
}

#[test]
fn sockets_that_are_no_tcp_connection_carry_none() {
    alone(|| {
        let stage = Stage::set();
        for host in ["127.0.0.1", "::1"] {
            // Without CAP_NET_RAW nobody has one, governor or not.
            assert_eq!(stage.ask(User::Nobody, "raw_tcp", host, &[]).outcome(), "errno EPERM");
            // With it, a program could speak TCP past the kernel's own.
            assert_eq!(stage.ask(User::Root, "raw_tcp", host, &[]).outcome(), "errno EPERM");
            // ping goes on.
            assert_eq!(stage.ask(User::Root, "raw_icmp", host, &[]).outcome(), "made 3");
            assert_eq!(stage.ask(User::Root, "datagram", host, &[]).outcome(), "made True");
        }
        let sctp = stage.ask(User::Root, "sctp", "127.0.0.1", &[]);
        assert!(sctp.absent().is_some() || sctp.outcome() == "errno ECONNREFUSED", "{sctp:?}");
        stage.assert_nothing_went_around();
    })
    .unwrap();
}
