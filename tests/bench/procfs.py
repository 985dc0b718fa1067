"""What the kernel says about processes: CPU time, memory, threads; and where they run."""
import glob
import subprocess


def pin(pid, core):
    """All threads of a process, now and to come, on one core."""
    subprocess.run(["taskset", "-a", "-c", "-p", str(core), str(pid)], check=True, capture_output=True)


def children(pid):
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
    return [int(child) for child in found.split()]


def pin_tree(pid, core):
    for child in children(pid):
        pin_tree(child, core)
    pin(pid, core)


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


def socket_memory_kb():
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
