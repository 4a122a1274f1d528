//! Finds out about peers that are gone without a word: a host that lost power, a cable that was pulled.
//!
//! The kernel asks a silent peer (TCP keepalive). There is no TCP_USER_TIMEOUT: Linux also ends a
//! connection by it whose living peer does not read for so long, and a client may leave a result unread
//! for as long as it likes. Data for a peer that is gone is sent again for `net.ipv4.tcp_retries2`.

use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// A peer that answers nothing for `limit` is gone. What a listener accepts later has this from it.
pub(super) fn keep_alive(socket: &impl AsFd, limit: Duration) -> io::Result<()> {
    let second = Duration::from_secs(1);
    let silent = limit / 2;
    let probes = TcpKeepalive::new()
        .with_time(silent.max(second))
        .with_interval((silent / PROBES).max(second))
        .with_retries(PROBES);
    SockRef::from(socket).set_tcp_keepalive(&probes)
}

const PROBES: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_end_within_the_limit() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            for (limit_s, time_s, interval_s) in [(120, 60, 10), (43_200, 21_600, 3_600), (1, 1, 1)] {
                keep_alive(&stream, Duration::from_secs(limit_s)).unwrap();
                let socket = SockRef::from(&stream);
                assert!(socket.keepalive().unwrap());
                assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(time_s));
                assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(interval_s));
                assert_eq!(socket.tcp_keepalive_retries().unwrap(), PROBES);
            }
        });
    }

    #[test]
    fn what_a_listener_accepts_has_its_probes() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        keep_alive(&listener, Duration::from_secs(120)).unwrap();
        SockRef::from(&listener).set_tcp_nodelay(true).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        let socket = SockRef::from(&accepted);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), PROBES);
    }
}
