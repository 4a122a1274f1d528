//! What governor closes before it is a session is accounted for, behind the door for arriving connections too.

use super::PORTS;
use governor_tests::database_host::DatabaseHost;
use governor_tests::{Auth, Class, Options, process, wait};

/// Holds more than are served or told, lets them go, then makes some that are gone before anybody looks at them.
const CROWD: &str = r"
import socket, struct, sys
count = int(sys.argv[1])
held = [socket.create_connection(('127.0.0.1', 5432), 30) for _ in range(count)]
# Those that are only closed read the end; which they are is governor's choice.
held.reverse()
for s in held: s.close()
for _ in range(count):
    s = socket.create_connection(('127.0.0.1', 5432), 30)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.close()
print('done')
";

#[test]
fn connections_that_are_refused_behind_this_door_are_accounted_for() {
    let more = "[limits]\nconnections_max = 2\n[audit]\ncheckpoint_interval = \"100ms\"\n";
    let options = Options { more: more.into(), ..Options::default() };
    let site = DatabaseHost::start(PORTS, Auth::Trust, &options).unwrap();
    let count = 200;
    let mut crowd = site.local("python3", "127.0.0.1", Class::Service).unwrap();
    crowd.args(["-ISc", CROWD, &count.to_string()]);
    let done = process::run(crowd, wait::PATIENCE).unwrap().ok().unwrap();
    assert_eq!(done.out(), "done\n");
    let clients =
        |name: &str| site.metric(&format!("governor_completeness_{name}{{side=\"client\"}}")).unwrap();
    wait::until("all of them to be compared", wait::PATIENCE, || {
        Ok((clients("connections") >= f64::from(2 * count) && clients("pending") == 0.0).then_some(()))
    })
    .unwrap();
    assert!(site.metric("governor_connections_refused_total{reason=\"limit\"}").unwrap() > 60.0);
    for kind in ["unaudited", "uncounted", "bytes_in", "bytes_out", "lost"] {
        let series = format!("governor_completeness_mismatches_total{{kind=\"{kind}\"}}");
        assert_eq!(site.metric(&series).unwrap(), 0.0, "{kind}");
    }
    site.governor.cli(&["audit", "completeness"]).unwrap().ok().unwrap();
}
