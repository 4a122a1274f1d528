//! The kernel's counts of governor's own sockets, against what was read and written on them.

use super::stage::{Stage, direct_servers, python, wait_for};
use crate::host::kernel::{ClosedSockets, Fin, Kernel, SocketTotals, last_word, socket_cookie};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd as _;

fn closed(sockets: &mut ClosedSockets, cookie: u64) -> SocketTotals {
    let mut found = None;
    assert!(wait_for(|| {
        found = std::iter::from_fn(|| sockets.take()).find(|totals| totals.cookie == cookie);
        found.is_some()
    }));
    found.unwrap()
}

/// Each way in which a captured connection can end, seen from the accepting side.
#[test]
fn what_arrived_and_what_was_acknowledged_is_counted_for_every_ending() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let mut kernel = Kernel::load(&stage.options(port, false)).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    kernel.serve_listener(listener.as_fd()).unwrap();
    kernel.attach().unwrap();
    let mut sockets = kernel.take_closed_sockets().unwrap();
    let clients = stage.clients.clone();
    // The client sends 1000 bytes, reads 500, and then ends as it is told.
    let client = |ending: &'static str| {
        let (clients, port) = (clients.clone(), port.to_string());
        std::thread::spawn(move || {
            let program = format!(
                "import socket, struct, sys, os\ns = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n\
                 s.sendall(b'x' * 1000)\nn = 0\nwhile n < 500: n += len(s.recv(500))\n{ending}\nprint('pid', os.getpid())"
            );
            python(&clients, &program, &[port]);
        })
    };
    let reset = "s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); s.close()";
    let half = "s.shutdown(socket.SHUT_WR)\nwhile s.recv(100): pass";
    let until_end = "try:\n    while s.recv(9): pass\nexcept ConnectionResetError: pass";
    // Who ends it, bytes that governor reads, whether it reads to the end.
    for (ending, read, to_end) in [
        ("s.close()", 1000, true),
        (half, 1000, true),
        (reset, 1000, false),
        (until_end, 1000, false),
        (until_end, 300, false),
    ] {
        let running = client(ending);
        let (mut accepted, _) = listener.accept().unwrap();
        assert!(kernel.flows().unwrap().flow(accepted.as_fd()).unwrap().is_some());
        let cookie = socket_cookie(accepted.as_fd()).unwrap();
        accepted.read_exact(&mut vec![0; read]).unwrap();
        accepted.write_all(&[b'y'; 500]).unwrap();
        if to_end {
            assert_eq!(accepted.read(&mut [0; 10]).unwrap(), 0, "{ending}");
        } else if ending == reset {
            assert!(accepted.read(&mut [0; 10]).is_err(), "{ending}");
        }
        let word = last_word(accepted.as_fd(), read as u64).unwrap();
        drop(accepted);
        running.join().unwrap();
        let totals = closed(&mut sockets, cookie);
        println!("{ending:?}: {totals:?}");
        assert!(totals.accepted && totals.tgid > 0);
        assert_eq!(word.unread, 1000 - read as u64);
        assert!(word.bytes_received >= 1000 && word.bytes_received <= totals.bytes_received);
        match totals.fin_received {
            Fin::Yes => assert_eq!(totals.bytes_received, 1001, "{ending}"),
            Fin::No => assert_eq!(totals.bytes_received, 1000, "{ending}"),
            // governor closed first: the client's FIN may have come before the kernel forgot the socket.
            Fin::IfRead => assert!([1000, 1001].contains(&totals.bytes_received), "{ending}"),
        }
        assert_eq!(totals.fin_received == Fin::Yes, to_end, "{ending}");
        assert_eq!(totals.payload_acked, 500, "{ending}");
    }
    let sums = kernel.totals().unwrap();
    assert_eq!(sums.len(), 1);
    assert_eq!((sums[0].opened, sums[0].closed), (5, 5));
    assert_eq!(sums[0].port, Some(listener.local_addr().unwrap().port()));
    kernel.detach().unwrap();
}

#[test]
fn an_upstream_socket_is_counted_from_its_marker_on() {
    let Some(stage) = Stage::set() else { return };
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = server.local_addr().unwrap();
    let mut kernel = Kernel::load(&stage.options(address.port(), false)).unwrap();
    kernel.attach().unwrap();
    let exemption = kernel.exemption().unwrap();
    let mut sockets = kernel.take_closed_sockets().unwrap();
    for peer_first in [false, true] {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        exemption.mark(socket.as_fd()).unwrap();
        socket.connect(&address.into()).unwrap();
        let mut upstream = TcpStream::from(socket);
        let (mut peer, _) = server.accept().unwrap();
        let cookie = socket_cookie(upstream.as_fd()).unwrap();
        upstream.write_all(&[1; 70_000]).unwrap();
        peer.read_exact(&mut vec![0; 70_000]).unwrap();
        peer.write_all(&[2; 40]).unwrap();
        upstream.read_exact(&mut [0; 40]).unwrap();
        if peer_first {
            drop(peer);
            assert_eq!(upstream.read(&mut [0; 1]).unwrap(), 0);
            drop(upstream);
        } else {
            upstream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
            drop(peer);
            assert_eq!(upstream.read(&mut [0; 1]).unwrap(), 0);
            drop(upstream);
        }
        let totals = closed(&mut sockets, cookie);
        println!("peer first {peer_first}: {totals:?}");
        assert!(!totals.accepted);
        assert_eq!((totals.bytes_received, totals.payload_acked), (41, 70_000));
    }
    // Nobody listens there any more: what never came to be is not counted.
    drop(server);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    exemption.mark(socket.as_fd()).unwrap();
    assert!(socket.connect(&address.into()).is_err());
    drop(socket);
    let sums = kernel.totals().unwrap();
    assert_eq!((sums.len(), sums[0].port, sums[0].opened, sums[0].closed), (1, None, 2, 2));
    assert!(sockets.take().is_none());
    kernel.detach().unwrap();
}
