"""States that a port can be in, made for real: `states.py STATE PORT`. Port 0 chooses one.

Says `ready PORT` when the state stands, and takes it back when its standard input ends.
"""

import os
import signal
import socket
import sys

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def bound(port, address="127.0.0.1", options=()):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family)
    for option in options:
        made.setsockopt(socket.SOL_SOCKET, option, 1)
    made.bind((address, port))
    return made


def listening(port, address="127.0.0.1", options=(socket.SO_REUSEADDR,)):
    made = bound(port, address, options)
    made.listen()
    return made


def is_listening(port):
    held = listening(port)
    return held.getsockname()[1], held


def is_everywhere(port):
    held = listening(port, "0.0.0.0")
    return held.getsockname()[1], held


def is_bound(port):
    held = bound(port)
    return held.getsockname()[1], held


def is_datagrams(port):
    held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    held.bind(("127.0.0.1", port))
    return held.getsockname()[1], held


def is_time_wait(port):
    with listening(port) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        # Who closes first keeps the port.
        accepted.close()
        client.recv(1)
        client.close()
    return port, None


def is_outgoing(_):
    server = listening(0)
    client = socket.create_connection(server.getsockname())
    accepted, _ = server.accept()
    return client.getsockname()[1], (server, client, accepted)


def is_outlived(port):
    with listening(port) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
    return port, (client, accepted)


def is_shared(port):
    options = (socket.SO_REUSEPORT,)
    first = listening(port, "127.0.0.1", options)
    port = first.getsockname()[1]
    return port, (first, listening(port, "127.0.0.1", options))


def is_two_servers(port):
    four = listening(port)
    port = four.getsockname()[1]
    if os.fork() == 0:
        four.close()
        six = listening(port, "::1")
        print("ready", port, flush=True)
        sys.stdin.buffer.read(1)
        six.close()
        os._exit(0)
    return None, four


def is_left_over(port):
    """A server in a process group of its own has a child that inherits its socket, and is killed."""
    report, told = os.pipe()
    server = os.fork()
    if server == 0:
        os.setpgid(0, 0)
        held = listening(port)
        held.set_inheritable(True)
        child = os.fork()
        if child == 0:
            os.execvp("sleep", ["sleep", "600"])
        os.write(told, f"{child} {held.getsockname()[1]}".encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(server, 0)
    child, port = os.read(report, 64).split()
    # The connection waits for somebody to take it.
    waiting = socket.create_connection(("127.0.0.1", int(port)))
    return int(port), (waiting, End(int(child)))


class End:
    """Ends a process when it goes."""

    def __init__(self, pid):
        self.pid = pid

    def __del__(self):
        os.kill(self.pid, signal.SIGKILL)


STATES = {
    "listening": is_listening,
    "everywhere": is_everywhere,
    "bound": is_bound,
    "datagrams": is_datagrams,
    "time-wait": is_time_wait,
    "outgoing": is_outgoing,
    "outlived": is_outlived,
    "shared": is_shared,
    "two-servers": is_two_servers,
    "left-over": is_left_over,
}


def main():
    # More words are for whoever looks at this program's command line.
    name, port = sys.argv[1:3]
    number, held = STATES[name](int(port))
    if number is not None:
        print("ready", number, flush=True)
    sys.stdin.buffer.read(1)
    del held


if __name__ == "__main__":
    main()
