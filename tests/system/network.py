"""Network namespaces for one test: hosts with an address each, joined by a bridge in a namespace of its own.

Nothing outside the namespaces changes: no address, route or rule of the machine's own network. Names begin with
the test's process id; what a killed test left behind is removed by the next one. Needs root and iproute2.
"""
import contextlib
import ctypes
import os
import re
import signal
import subprocess

from harness import Failure
from skip import Skip

PREFIX = "10.213.0."
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def ip(*arguments, check=True):
    out = subprocess.run(["ip"] + list(arguments), capture_output=True, text=True)
    if check and out.returncode != 0:
        raise Failure("ip %s: %s" % (" ".join(arguments), out.stderr.strip()))
    return out


def _enter(path):
    with open(path) as f:
        if _libc.setns(f.fileno(), CLONE_NEWNET) != 0:
            raise Failure("cannot enter %s: %s" % (path, os.strerror(ctypes.get_errno())))


class Host:
    def __init__(self, network, name, address):
        self.network, self.name, self.address = network, name, address
        self.namespace = "%s-%s" % (network.name, name)

    def command(self, argv):
        return ["ip", "netns", "exec", self.namespace] + list(argv)

    def cut(self):
        """Nothing reaches it any more, nothing leaves it; both ends believe that the other is silent."""
        ip("-n", self.network.switch, "link", "set", "p-" + self.name, "down")

    def mend(self):
        ip("-n", self.network.switch, "link", "set", "p-" + self.name, "up")


class Network:
    def __init__(self):
        self.name = "sy%d" % os.getpid()
        self.switch = self.name + "-switch"
        self.hosts = {}
        self._home = None

    def __enter__(self):
        _sweep()
        if os.geteuid() != 0:
            raise Skip("needs root, to make network namespaces")
        try:
            made = ip("netns", "add", self.switch, check=False)
            if made.returncode != 0:
                raise Skip("network namespaces cannot be made here: " + made.stderr.strip())
            # It mounts the namespace's own /sys, for which the root has to be a mount: in a chroot it may be none.
            entered = ip("netns", "exec", self.switch, "true", check=False)
            if entered.returncode != 0:
                raise Skip("network namespaces cannot be entered here: " + entered.stderr.strip())
            ip("-n", self.switch, "link", "add", "name", "bridge0", "type", "bridge")
            ip("-n", self.switch, "link", "set", "bridge0", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def add(self, name):
        """A host with the next address; its loopback is its own."""
        host = Host(self, name, PREFIX + str(len(self.hosts) + 2))
        self.hosts[name] = host
        ip("netns", "add", host.namespace)
        ip("-n", self.switch, "link", "add", "name", "p-" + name, "type", "veth", "peer", "name", "eth0", "netns",
           host.namespace)
        ip("-n", self.switch, "link", "set", "p-" + name, "master", "bridge0", "up")
        ip("-n", host.namespace, "addr", "add", host.address + "/24", "dev", "eth0")
        ip("-n", host.namespace, "link", "set", "eth0", "up")
        ip("-n", host.namespace, "link", "set", "lo", "up")
        return host

    def enter(self, host):
        """This process, with all that it starts from now on, is on that host until the network is taken down."""
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY)
        _enter("/var/run/netns/" + host.namespace)

    def __exit__(self, *_):
        if self._home is not None:
            _libc.setns(self._home, CLONE_NEWNET)
            os.close(self._home)
            self._home = None
        for namespace in [h.namespace for h in self.hosts.values()] + [self.switch]:
            ip("netns", "del", namespace, check=False)
        self.hosts.clear()


def _sweep():
    """Ends what still runs in the namespaces of tests whose process is gone, and removes them."""
    for line in ip("netns", "list", check=False).stdout.splitlines():
        name = line.split(" ")[0]
        owner = re.fullmatch(r"sy(\d+)-[a-z0-9]+", name)
        if owner and not os.path.exists("/proc/" + owner.group(1)):
            for pid in ip("netns", "pids", name, check=False).stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGTERM)
            ip("netns", "del", name, check=False)
