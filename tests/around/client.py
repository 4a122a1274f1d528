"""One way to a PostgreSQL that is not there for governor to see: connects, asks one question, says what came of it.

Called as: WAY HOST PORT QUERY [MORE...]. Prints `pid N`, then one of
`rows a|b;c|d`, `error SQLSTATE text`, `errno NAME`, `absent why`. A way that needs its moment says `ready` and
waits for a line on standard input.
"""
import ctypes, errno, mmap, os, select, socket, struct, sys

WAY, HOST, PORT, QUERY, MORE = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5:]
FAMILY = socket.AF_INET6 if ':' in HOST else socket.AF_INET
TO = (HOST, PORT)
LIBC = ctypes.CDLL(None, use_errno=True)
MSG_FASTOPEN, TCP_FASTOPEN_CONNECT, IPPROTO_MPTCP, IPPROTO_SMC = 0x20000000, 30, 262, 256
IP_BIND_ADDRESS_NO_PORT, IP_FREEBIND, IP_UNICAST_IF, IP_LOCAL_PORT_RANGE = 24, 15, 50, 51


class Absent(Exception):
    pass


class Stream(socket.socket):
    """Keeps what belongs to it; `started` once the first bytes are under way."""
    started = False


def startup(name=WAY):
    pairs = ('user', 'app', 'database', 'shop', 'application_name', name)
    body = struct.pack('!i', 196608) + b''.join(p.encode() + b'\0' for p in pairs) + b'\0'
    return struct.pack('!i', len(body) + 4) + body


def stream(kind=socket.SOCK_STREAM, protocol=0, family=FAMILY):
    try:
        s = Stream(family, kind, protocol)
    except OSError as error:
        if error.errno in (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ESOCKTNOSUPPORT):
            raise Absent(error.strerror)
        raise
    s.settimeout(20)
    return s


def wait_for_word():
    print('ready', flush=True)
    sys.stdin.readline()


def sockaddr(to=TO, family=FAMILY):
    if family == socket.AF_INET6:
        return struct.pack('=HHI16sI', family, socket.htons(to[1]), 0, socket.inet_pton(family, to[0]), 0)
    return struct.pack('=HH4s8x', family, socket.htons(to[1]), socket.inet_pton(family, to[0]))


# ---- plain ways ------------------------------------------------------------------------------------------------

def plain():
    s = stream(); s.connect(TO); return s


def nonblocking():
    s = stream(); s.setblocking(False)
    code = s.connect_ex(TO)
    if code not in (0, errno.EINPROGRESS):
        raise OSError(code, os.strerror(code))
    select.select([], [s], [], 20)
    code = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))
    s.settimeout(20); return s


def bound_address():
    s = stream(); s.bind(('127.9.9.9', 0)); s.connect(TO); return s


def bound_port():
    s = stream(); s.bind(('', 0)); s.connect(TO); return s


def bound_late():
    s = stream(); s.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1); s.bind(('127.0.0.1', 0)); s.connect(TO); return s


def free_bind():
    s = stream(); s.setsockopt(socket.SOL_IP, IP_FREEBIND, 1); s.bind(('127.3.3.3', 0)); s.connect(TO); return s


def unicast_interface():
    s = stream(); s.setsockopt(socket.SOL_IP, IP_UNICAST_IF, socket.htonl(socket.if_nametoindex('lo'))); s.connect(TO); return s


def device():
    s = stream(); s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, (MORE or ['lo'])[0].encode()); s.connect(TO); return s


def firewall_mark():
    s = stream(); s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, int(MORE[0])); s.connect(TO); return s


def source_route():
    s = stream()
    # Loose source route by way of an address of this host.
    s.setsockopt(socket.SOL_IP, socket.IP_OPTIONS, struct.pack('=BBBB4s4s', 1, 131, 11, 4, socket.inet_aton(MORE[0]), socket.inet_aton(HOST)))
    s.settimeout(2); s.connect(TO); return s


def again():
    s = stream()
    # First to somewhere that no rule names, then free the socket and use it again.
    s.connect(('127.0.0.1', int(MORE[0])))
    if LIBC.connect(s.fileno(), struct.pack('=H14x', socket.AF_UNSPEC), 16):
        raise OSError(ctypes.get_errno(), 'AF_UNSPEC')
    s.connect(TO); return s


def twice():
    s = stream(); s.connect(TO)
    if LIBC.connect(s.fileno(), struct.pack('=H14x', socket.AF_UNSPEC), 16):
        raise OSError(ctypes.get_errno(), 'AF_UNSPEC')
    s.connect(TO); return s


def after_refusal():
    s = stream(); s.setblocking(True)
    try:
        s.connect(('127.0.0.1', 1))
    except ConnectionRefusedError:
        pass
    s.connect(TO); return s


def multipath():
    s = stream(protocol=IPPROTO_MPTCP); s.connect(TO); return s


def smc():
    s = stream(protocol=IPPROTO_SMC); s.connect(TO); return s


def smc_family():
    s = stream(family=43); LIBC.connect(s.fileno(), sockaddr(), len(sockaddr())); return s


def thread():
    import threading
    s, failed = stream(), []
    def go():
        try:
            s.connect(TO)
        except OSError as error:
            failed.append(error)
    t = threading.Thread(target=go); t.start(); t.join()
    if failed:
        raise failed[0]
    return s


def made_before():
    s = stream(); wait_for_word(); s.connect(TO); return s


# ---- Fast Open: the bytes are there before the connection is ----------------------------------------------------

def fastopen_sendto():
    s = stream(); s.setblocking(True); s.sendto(startup(), MSG_FASTOPEN, TO); s.started = True; return s


def fastopen_sendmsg():
    s = stream(); s.setblocking(True); s.sendmsg([startup()], [], MSG_FASTOPEN, TO); s.started = True; return s


def fastopen_connect():
    s = stream(); s.setsockopt(socket.SOL_TCP, TCP_FASTOPEN_CONNECT, 1); s.connect(TO); return s


# ---- io_uring: the kernel connects, by another thread or by none of ours -----------------------------------------

class Ring:
    def __init__(self, flags=0):
        params = bytearray(120)
        struct.pack_into('=I', params, 8, flags)
        buffer = (ctypes.c_char * 120).from_buffer(params)
        self.fd = LIBC.syscall(425, 4, buffer)
        if self.fd < 0:
            raise Absent('io_uring: ' + os.strerror(ctypes.get_errno()))
        at = struct.unpack_from('=2I', params, 0)
        self.sq = struct.unpack_from('=8I', params, 40)
        self.cq = struct.unpack_from('=8I', params, 80)
        shared = mmap.MAP_SHARED | mmap.MAP_POPULATE
        size = max(self.sq[6] + at[0] * 4, self.cq[5] + at[1] * 16)
        self.ring = mmap.mmap(self.fd, size, flags=shared, offset=0)
        try:
            self.cring = mmap.mmap(self.fd, size, flags=shared, offset=0x8000000)
        except OSError:
            self.cring = self.ring
        self.sqes = mmap.mmap(self.fd, at[0] * 64, flags=shared, offset=0x10000000)
        self.polled = bool(flags & 2)

    def run(self, opcode, fd, address, length, offset, flags=0, more=0):
        tail = struct.unpack_from('=I', self.ring, self.sq[1])[0]
        index = tail & struct.unpack_from('=I', self.ring, self.sq[2])[0]
        struct.pack_into('=BBHiQQIIQ24x', self.sqes, index * 64, opcode, flags, 0, fd, offset, address, length, more, 7)
        struct.pack_into('=I', self.ring, self.sq[6] + index * 4, index)
        struct.pack_into('=I', self.ring, self.sq[1], tail + 1)
        # GETEVENTS, and SQ_WAKEUP for a ring with a thread of its own.
        entered = LIBC.syscall(426, self.fd, 0 if self.polled else 1, 1, 1 | (2 if self.polled else 0), None, 0)
        if entered < 0:
            raise OSError(ctypes.get_errno(), 'io_uring_enter')
        head = struct.unpack_from('=I', self.cring, self.cq[0])[0]
        mask = struct.unpack_from('=I', self.cring, self.cq[2])[0]
        result = struct.unpack_from('=QiI', self.cring, self.cq[5] + (head & mask) * 16)[1]
        struct.pack_into('=I', self.cring, self.cq[0], head + 1)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result


def ring_connect(ring_flags, request_flags=0, own_socket=False):
    ring = Ring(ring_flags)
    if own_socket:
        s = Stream(fileno=ring.run(45, FAMILY, 0, 0, socket.SOCK_STREAM))
        s.settimeout(20)
    else:
        s = stream()
    s.setblocking(True)
    bytes_of = ctypes.create_string_buffer(sockaddr())
    ring.run(16, s.fileno(), ctypes.addressof(bytes_of), 0, len(sockaddr()), request_flags)
    s.settimeout(20); s.keep = (ring, bytes_of)
    return s


def ring_inline(): return ring_connect(0)
def ring_async(): return ring_connect(0, 1 << 4)
def ring_polled(): return ring_connect(1 << 1)
def ring_socket(): return ring_connect(0, own_socket=True)


def ring_fastopen():
    ring, s = Ring(), stream()
    s.setblocking(True)
    data, name = ctypes.create_string_buffer(startup(), len(startup())), ctypes.create_string_buffer(sockaddr())
    vector = struct.pack('=QQ', ctypes.addressof(data), len(startup()))
    vector = ctypes.create_string_buffer(vector, 16)
    header = struct.pack('=QI4xQQQQi4x', ctypes.addressof(name), len(sockaddr()), ctypes.addressof(vector), 1, 0, 0, 0)
    header = ctypes.create_string_buffer(header, len(header))
    try:
        ring.run(9, s.fileno(), ctypes.addressof(header), 1, 0, 0, MSG_FASTOPEN)
        s.started = True
    except OSError as error:
        # Without a cookie the connection is under way, and the bytes are not.
        if error.errno != errno.EINPROGRESS:
            raise
        select.select([], [s], [], 20)
    s.settimeout(20); s.keep = (ring, data, name, vector, header)
    return s


# ---- sockets that come from, or go, elsewhere ---------------------------------------------------------------------

def given():
    """A socket that somebody else made, over the descriptor named in MORE; connected here unless it is already."""
    channel = socket.socket(fileno=int(MORE[0]))
    _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    s = Stream(fileno=descriptors[0])
    s.settimeout(20)
    if MORE[1] == 'connect':
        s.connect(TO)
    if 'stays' in MORE:
        return again_on(s)
    return s


def gives():
    """The other end of that: makes (and connects) a socket, hands it over, stays until told to go."""
    channel = socket.socket(fileno=int(MORE[0]))
    s = stream()
    if MORE[1] == 'connected':
        s.connect(TO)
    socket.send_fds(channel, [b'x'], [s.fileno()])
    wait_for_word()
    sys.exit(0)


def moves():
    """Goes to the cgroup in MORE before or after it makes its socket."""
    procs = os.open(MORE[0] + '/cgroup.procs', os.O_WRONLY)
    if MORE[1] == 'first':
        os.write(procs, b'0')
        return plain()
    s = stream()
    os.write(procs, b'0')
    s.connect(TO)
    return s


def namespace():
    """A socket made in the namespace of the file in MORE, connected after coming back."""
    home, there = os.open('/proc/thread-self/ns/net', os.O_RDONLY), os.open(MORE[0], os.O_RDONLY)
    for step in (there, None, home):
        if step is None:
            s = stream()
        elif LIBC.setns(step, 0x40000000):
            raise OSError(ctypes.get_errno(), 'setns')
    s.connect(TO)
    return s


def new_namespace():
    """What anybody may make: a user namespace with a network namespace of its own."""
    if LIBC.unshare(0x10000000 | 0x40000000):
        raise Absent('unshare: ' + os.strerror(ctypes.get_errno()))
    import fcntl
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # SIOCSIFFLAGS: `lo` up and running.
    fcntl.ioctl(s, 0x8914, struct.pack('16sH14x', b'lo', 0x41))
    return plain()


def stays():
    """Asks once, waits, and asks the same again on the same connection."""
    return again_on(namespace() if MORE else plain())


def again_on(s):
    print(ask(s), flush=True)
    wait_for_word()
    send_question(s)
    s.started = 'asked'
    return s


# ---- what is no connection ----------------------------------------------------------------------------------------

def raw_tcp():
    s = socket.socket(FAMILY, socket.SOCK_RAW, socket.IPPROTO_TCP)
    raise SystemExit(print('made', s.type))


def raw_icmp():
    s = socket.socket(FAMILY, socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if ':' in HOST else socket.IPPROTO_ICMP)
    raise SystemExit(print('made', s.type))


def sctp():
    s = stream(protocol=132); s.connect(TO); return s


def datagram():
    s = socket.socket(FAMILY, socket.SOCK_DGRAM); s.connect(TO)
    raise SystemExit(print('made', s.getpeername()[1] == PORT))


def bind_to():
    """Takes governor's port: each form of MORE, told by what the kernel said of it."""
    for form in MORE:
        family = socket.AF_INET6 if ':' in form else socket.AF_INET
        s = socket.socket(family)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            s.bind((form, PORT)); s.listen(); print('bound', form)
        except OSError as error:
            print('errno', errno.errorcode[error.errno], form)
    sys.exit(0)


def squat():
    """Listens on governor's port without ever naming it to bind(): the kernel is left only that one to choose."""
    s = stream()
    s.setsockopt(socket.SOL_IP, IP_LOCAL_PORT_RANGE, struct.pack('=I', PORT << 16 | PORT))
    try:
        s.listen()
    except OSError as error:
        print('errno', errno.errorcode[error.errno], flush=True)
        sys.exit(0)
    print('listens', s.getsockname()[1], flush=True)
    print('ready', flush=True)
    import threading
    got = []
    def take():
        while True:
            accepted, peer = s.accept(); got.append(peer)
    threading.Thread(target=take, daemon=True).start()
    sys.stdin.readline()
    print('accepted', len(got))
    sys.stdout.flush(); os._exit(0)


def relay():
    """Listens on PORT and passes everything on to the port in MORE, as socat would."""
    import threading
    listening = socket.create_server(('127.0.0.1', PORT))
    def pump(one, other):
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        try:
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass
    def serve():
        while True:
            near, _ = listening.accept()
            far = socket.create_connection(('127.0.0.1', int(MORE[0])))
            threading.Thread(target=pump, args=(near, far), daemon=True).start()
            threading.Thread(target=pump, args=(far, near), daemon=True).start()
    threading.Thread(target=serve, daemon=True).start()
    wait_for_word()
    os._exit(0)


def steal():
    """Takes a descriptor of the process in MORE: governor's own sockets are marked."""
    pid = LIBC.syscall(434, int(MORE[0]), 0)
    if pid < 0:
        raise OSError(ctypes.get_errno(), 'pidfd_open')
    got = LIBC.syscall(438, pid, int(MORE[1]), 0)
    if got < 0:
        raise OSError(ctypes.get_errno(), 'pidfd_getfd')
    raise SystemExit(print('made', got))


def forge():
    """Looks for the map of marks: by its pin, and by asking the kernel for every map there is."""
    try:
        os.listdir(MORE[0]); print('listed')
    except OSError as error:
        print('errno', errno.errorcode[error.errno], 'pins')
    attributes = ctypes.create_string_buffer(128)
    # BPF_MAP_GET_NEXT_ID, then BPF_MAP_GET_FD_BY_ID.
    for command, name in ((12, 'ids'), (14, 'descriptor')):
        code = LIBC.syscall(321, command, attributes, 128)
        print('made' if code >= 0 else 'errno ' + errno.errorcode[ctypes.get_errno()], name)
    sys.exit(0)


# ---- one question in PostgreSQL's protocol -------------------------------------------------------------------------

def read(s, count):
    data = b''
    while len(data) < count:
        more = s.recv(count - len(data))
        if not more:
            raise ConnectionResetError(errno.ECONNRESET, 'closed')
        data += more
    return data


def fields_of(body):
    return {part[:1].decode(): part[1:].decode() for part in body.split(b'\0') if part}


def send_question(s):
    text = QUERY.encode() + b'\0'
    s.sendall(b'Q' + struct.pack('!i', len(text) + 4) + text)


def begin(s):
    if not s.started:
        s.sendall(startup()); s.started = True


def ask(s):
    begin(s)
    rows, asked = [], s.started == 'asked'
    while True:
        kind, length = struct.unpack('!ci', read(s, 5))
        body = read(s, length - 4)
        if kind == b'E':
            said = fields_of(body)
            return f"error {said['C']} {said['M']}"
        if kind == b'D':
            count, at, row = struct.unpack_from('!h', body)[0], 2, []
            for _ in range(count):
                size = struct.unpack_from('!i', body, at)[0]; at += 4
                row.append('' if size < 0 else body[at:at + size].decode()); at += max(size, 0)
            rows.append('|'.join(row))
        if kind == b'Z':
            if asked:
                return 'rows ' + ';'.join(rows)
            send_question(s); asked = True


print('pid', os.getpid(), flush=True)
try:
    connected = globals()[WAY]()
    # Where the first bytes are to come with the SYN, there is no peer before them.
    begin(connected)
    peer = connected.getpeername()
    print('peer', peer[0], peer[1])
    print(ask(connected))
except Absent as why:
    print('absent', why)
except (TimeoutError, socket.timeout):
    print('errno ETIMEDOUT')
except OSError as error:
    print('errno', errno.errorcode.get(error.errno, error.errno))
