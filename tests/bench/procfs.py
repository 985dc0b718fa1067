"""What the kernel says about processes: CPU time, memory, threads; and where they run."""
import glob
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "system"))

from skmem import held_bytes  # noqa: E402


def order(pid, *command):
    """Something that is done to a process; one that has ended meanwhile needs it no more."""
    done = subprocess.run([*command, str(pid)], capture_output=True, text=True)
    if done.returncode != 0 and os.path.exists("/proc/%d" % pid):
        raise OSError("%s %d: %s" % (" ".join(command), pid, done.stderr.strip()))


def pin(pid, core):
    """All threads of a process, now and to come, on one core."""
    order(pid, "taskset", "-a", "-c", "-p", str(core))


def children(pid):
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
    return [int(child) for child in found.split()]


def tree(pid):
    """The process, and all that came of it."""
    return [pid] + [below for child in children(pid) for below in tree(child)]


def pin_tree(pid, core):
    for member in tree(pid):
        pin(member, core)


def session_nice(pid, nice):
    """The kernel divides the processors among sessions first, each as nice as its autogroup is."""
    paths = ["/proc/%s/autogroup" % who for who in (pid, "self")]
    try:
        groups = [open(path).read().split()[0] for path in paths]
        if groups[0] != groups[1]:  # Else it is ours, with load and provider in it.
            with open(paths[0], "w") as f:
                f.write(str(nice))
    except OSError:
        pass  # A kernel without groups.


def stand_behind(pid):
    """A process and its children run when nobody else of their session wants the processor."""
    for member in tree(pid):
        order(member, "chrt", "-a", "-i", "-p", "0")


def thread_cpu_ns(pid):
    """{thread id: nanoseconds on a processor} of one process."""
    used = {}
    for path in glob.glob("/proc/%d/task/*/schedstat" % pid):
        try:
            with open(path) as f:
                used[int(path.split("/")[4])] = int(f.read().split()[0])
        except OSError:
            pass  # The thread ended.
    return used


def cpu_us(pids):
    """Of all threads of all the processes."""
    return sum(sum(thread_cpu_ns(pid).values()) for pid in pids) / 1000


def resident_kb(pid):
    with open("/proc/%d/status" % pid) as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def sockets_kb(pid):
    """What the kernel holds for the TCP sockets of one process: received and not yet read (r), sent
    and not yet acknowledged or waiting to be sent (w), taken in advance (f), options (o), backlog (bl).
    What lies at the other end is the other process's, on loopback too: a segment is the sender's
    until it is acknowledged, then the receiver's until it is read."""
    text = subprocess.run(["ss", "-tmnpHO"], capture_output=True, text=True, check=True).stdout
    owner, held = "pid=%d," % pid, 0
    for line in text.splitlines():
        if owner in line:
            held += held_bytes(line)
    return held // 1024


def machine_sockets_kb():
    """Of all TCP sockets of the network namespace; a page is 4 KiB."""
    with open("/proc/net/sockstat") as f:
        for line in f:
            words = line.split()
            if words[0] == "TCP:":
                return 4 * int(words[words.index("mem") + 1])
    return 0


def established(port):
    """TCP connections that this port has accepted and that neither side has closed."""
    local, count = ":%04X" % port, 0
    with open("/proc/net/tcp") as f:
        for line in f:
            words = line.split()
            count += words[1].endswith(local) and words[3] == "01"
    return count


def machine():
    with open("/proc/cpuinfo") as f:
        models = [line.split(":")[1].strip() for line in f if line.startswith("model name")]
    with open("/proc/sys/kernel/osrelease") as f:
        release = f.read().strip()
    return "%s, %d cores, Linux %s" % (models[0] if models else "?", len(models), release)
