"""What the node holds and withstands: memory idle, with thousands of streams and after them;
clients that stop reading; more load than it admits."""
import socket
import time
from statistics import median

from bed import Failure, Upstream, end_load, expect, load, restart_node, start_load, wait_until
from procfs import cpu_us, established, machine_sockets_kb, resident_kb, sockets_kb
from stand import progress

SETTLE_S = 5
SAMPLES = 3  # Of a p99, which has what else runs on the machine in it.
CUT_WITHIN_S = 45  # The stall timeout is 30 s; beyond this the run goes on and says so.


def idle_memory(stand):
    restart_node(stand.cluster)
    time.sleep(SETTLE_S)
    return {"resident_kb": resident_kb(stand.node_pid)}


def live_streams(stand, quick):
    """Streams that say something every two seconds, all alive at once."""
    streams = stand.fitting(900 if quick else 9000)
    restart_node(stand.cluster)
    time.sleep(SETTLE_S)
    pid = stand.node_pid
    idle_kb, idle_machine_kb, port = resident_kb(pid), machine_sockets_kb(), stand.node_port
    ramp_s = max(2, streams // 900)
    request = stand.request(1024, (ramp_s + 24) // 2, 2000)
    child = start_load(stand.node_port, streams, 600, request, "-n", str(streams), "--ramp",
                       str(1000 * ramp_s), "--any-status")
    try:
        time.sleep(ramp_s + 12)  # Every stream has had events, and what only their start took is gone.
        live = established(port)
        live_kb, node_sockets_kb, machine_kb = resident_kb(pid), sockets_kb(pid), machine_sockets_kb()
    finally:
        result = end_load(child)
    time.sleep(10)
    return {"streams": streams, "live": live, "refused": result["refused"] + result["unanswered"],
            "idle_kb": idle_kb, "live_kb": live_kb,
            "bytes_per_stream": (live_kb - idle_kb) * 1024 / max(live, 1),
            "sockets_kb": node_sockets_kb, "machine_sockets_kb": max(0, machine_kb - idle_machine_kb),
            "drained_kb": resident_kb(pid),
            "drained_ratio": resident_kb(pid) / idle_kb, "delay_p99_us": result["delay_p99_us"]}


def burst(stand, seconds):
    """128 busy connections with large bodies; what stays resident 10 s later."""
    restart_node(stand.cluster)
    time.sleep(SETTLE_S)
    idle_kb = resident_kb(stand.node_pid)
    load(stand.node_port, 128, seconds, stand.request(512000))
    load(stand.node_port, 128, seconds, stand.request(1024))
    peak_kb = resident_kb(stand.node_pid)
    time.sleep(10)
    return {"idle_kb": idle_kb, "peak_kb": peak_kb, "drained_kb": resident_kb(stand.node_pid),
            "drained_ratio": resident_kb(stand.node_pid) / idle_kb}


def stall(port, request, count):
    """Clients that ask for a long stream and never read; a receive buffer as small as there is."""
    with open(request, "rb") as f:
        text = f.read()
    clients = []
    for _ in range(count):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        client.connect(("127.0.0.1", port))
        client.sendall(text)
        clients.append(client)
    return clients


def usual_p99(stand, seconds):
    def sample():
        taken = load(stand.node_port, 16, seconds, stand.request(1024))
        stand.settle()
        return taken["p99_us"]

    return median(sample() for _ in range(SAMPLES))


def stalled_clients(stand, quick, seconds):
    """Many clients that stop reading, beside some that do not."""
    count = stand.fitting(1000 if quick else 10000)
    provider = Upstream(stand.directory, sndbuf_bytes=16384)
    clients, result = [], {"clients": count}
    try:
        restart_node(stand.cluster)
        stand.configure(provider, stand.node_variants[0])
        stand.variant = None
        time.sleep(2)
        pid, port = stand.node_pid, stand.node_port
        load(port, 16, 1, stand.request(1024))
        before_machine_kb = machine_sockets_kb()
        result["p99_alone_us"] = usual_p99(stand, seconds)
        began = time.monotonic()
        clients = stall(port, stand.request(1024, 20000, 0), count)
        result["filled_s"] = at_rest(pid, began)
        result["p99_beside_us"] = usual_p99(stand, seconds)
        result["stalled"] = established(port)
        result["node_kb"] = resident_kb(pid)
        result["sockets_kb"] = sockets_kb(pid)
        result["machine_sockets_kb"] = max(0, machine_sockets_kb() - before_machine_kb)
        result.update(cut_after(port, count, began + result["filled_s"]))
        result["p99_ratio"] = result["p99_beside_us"] / result["p99_alone_us"]
        result["memory_kb"] = result["node_kb"] + result["sockets_kb"]
        for client in clients:
            client.close()
        restart_node(stand.cluster)
        stand.use(False, stand.node_variants[0])
    finally:
        provider.stop()  # A run that fails or is interrupted needs no node after this.
    return result


def at_rest(pid, began):
    """Waits until all buffers are full and the node does nothing; seconds since `began`."""
    def idle():
        before = cpu_us([pid])
        time.sleep(0.25)
        return cpu_us([pid]) - before < 25000

    try:
        wait_until("the node to rest", idle, 15)
    except Failure:
        pass  # It goes on without rest, and the figures show it.
    return time.monotonic() - began


def cut_after(port, count, filled):
    """Seconds from the last buffer's filling until the node had let go of 99 % of the clients."""
    while time.monotonic() < filled + CUT_WITHIN_S:
        left = established(port)
        if left <= count // 100:
            return {"cut_s": time.monotonic() - filled, "left": left}
        time.sleep(0.25)
    return {"cut_s": None, "left": left}


def overload(stand, seconds):
    """No memory to admit anything with: how soon each of 128 busy clients has its answer."""
    restart_node(stand.cluster, words=["--memory-max", "1MiB"])
    taken = [load(stand.node_port, 128, seconds, stand.request(1024), "--any-status")
             for _ in range(SAMPLES)]
    restart_node(stand.cluster)
    refused = sum(sample["refused"] for sample in taken)
    expect(refused > 0, "nothing was refused: %s" % taken)
    return {"refused": refused, "answered": sum(s["requests"] for s in taken) - refused,
            "p99_us": median(sample["refused_p99_us"] for sample in taken)}


def measure(stand, is_wanted, quick, seconds):
    found = {}
    for name, run in (("memory: idle", lambda: idle_memory(stand)),
                      ("memory: live streams", lambda: live_streams(stand, quick)),
                      ("memory: burst", lambda: burst(stand, seconds)),
                      ("stalled clients", lambda: stalled_clients(stand, quick, seconds)),
                      ("overload", lambda: overload(stand, seconds))):
        if is_wanted(name):
            stand.use(False, stand.node_variants[0])  # The default transport, whatever ran before.
            stand.forget_log()
            found[name] = run()
            progress("  %-32s %s" % (name, ", ".join("%s %s" % (
                field, "%.1f" % value if isinstance(value, float) else value)
                for field, value in found[name].items())))
    return found


NAMES = ("memory: idle", "memory: live streams", "memory: burst", "stalled clients", "overload")
