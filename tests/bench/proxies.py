"""What the node is measured beside: nginx and haproxy as reverse proxies of the same provider, one
worker each, kept-alive connections on both sides, no access log, nothing held back."""
import os
import resource
import shutil
import subprocess
import time

from bed import Failure, expect, free_port, http, tool, wait_until
from procfs import children, cpu_us

PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "valgrind": "valgrind",
            "callgrind_control": "valgrind", "perf": "linux-perf", "taskset": "util-linux",
            "openssl": "openssl", "ss": "iproute2", "strace": "strace"}
# Who uses less than RESTS_US in REST_S has nothing left to do.
REST_S, RESTS_US = 0.3, 2000


def need(*programs):
    lost = [p for p in programs if shutil.which(p) is None]
    expect(not lost, "; ".join("%s is not installed: Debian package %s" % (p, PACKAGES[p])
                               for p in lost))


class Proxy:
    """A child that listens on self.port; start() may put a prefix (valgrind) before its command."""
    name = "?"

    def __init__(self, directory, upstream, tls):
        """upstream and tls are listeners of bench_upstream; tls may be None."""
        if self.name in PACKAGES:
            need(self.name)
        self.directory = os.path.join(directory, self.name)
        os.makedirs(self.directory)
        self.upstream, self.tls, self.child = upstream, tls, None
        self.port, self.tls_port, self.log_port = free_port(), free_port(), None

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def start(self, prefix=()):
        log = open(os.path.join(self.directory, "log"), "ab")
        self.child = subprocess.Popen([*prefix, *self.command(single=bool(prefix))], stdout=log,
                                      stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        for port in [self.port] + ([self.tls_port] if self.tls else []):
            wait_until("%s to listen" % self.name, lambda: self._answers(port), 60)
        return self

    def _answers(self, port):
        if self.child.poll() is not None:
            with open(os.path.join(self.directory, "log"), errors="replace") as f:
                raise Failure("%s ended early:\n%s" % (self.name, f.read()[-2000:]))
        return http("POST", "http://127.0.0.1:%d/" % port, {"max_tokens": 1})[0] == 200

    def forget_log(self):
        """What its access log holds is not kept, as the node's is not."""
        path = os.path.join(self.directory, "access.log")
        if os.path.exists(path):
            os.truncate(path, 0)

    def settle(self):
        """Until what it was asked for is done with: for most that is once it has answered."""

    @property
    def pids(self):
        return [self.child.pid] + children(self.child.pid)

    def stop(self):
        if self.child is not None:
            self.child.terminate()
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


class Relay(Proxy):
    """bench_relay, which passes bytes on unread: what two connections through libuv cost at least."""
    name = "bare relay"

    def command(self, single):
        return [tool("bench_relay"), str(self.port), str(self.upstream.port)]


class DecidingRelay(Relay):
    """It also decides and records each request (bench_deciding.h), and nothing else: how much of the
    node's figure that part is."""
    name = "deciding relay"

    def command(self, single):
        return [tool("bench_relay"), "-d", str(self.port), str(self.upstream.port)]

    def settle(self):
        """Until its threads are done with what was recorded: they rest."""
        used = cpu_us(self.pids)
        while True:
            time.sleep(REST_S)
            before, used = used, cpu_us(self.pids)
            if used - before < RESTS_US:
                return


class Nginx(Proxy):
    """Request bodies are read into memory before they are passed on (proxy_request_buffering on with
    a buffer that holds the largest body): nginx's cheapest way for bodies that come in one piece.
    log_port is the same with an access log in its usual format, gathered in 64 KiB."""
    name = "nginx"
    buffering = "on"

    def __init__(self, directory, upstream, tls):
        super().__init__(directory, upstream, tls)
        self.log_port = free_port()

    def command(self, single):
        tls = "" if self.tls is None else """
  upstream tls { server 127.0.0.1:%d; keepalive 1024; keepalive_requests 1000000000;
    keepalive_timeout 600s; }
  server { listen 127.0.0.1:%d reuseport backlog=4096; tcp_nodelay on;
    location / { proxy_pass https://tls; include proxy.conf;
      proxy_ssl_verify on; proxy_ssl_trusted_certificate %s; proxy_ssl_name localhost;
      proxy_ssl_server_name on; proxy_ssl_session_reuse on; proxy_ssl_protocols TLSv1.2 TLSv1.3; } }
""" % (self.tls.port, self.tls_port, self.tls.ca)
        self.write("proxy.conf", """proxy_http_version 1.1; proxy_set_header Connection "";
proxy_buffering off; proxy_request_buffering %s; proxy_read_timeout 600s;
""" % self.buffering)
        path = self.write("nginx.conf", """daemon off; worker_processes 1; pid %(d)s/nginx.pid;
master_process %(master)s; error_log %(d)s/error.log;
events { worker_connections 32768; accept_mutex off; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_header_buffer_size 4k; client_body_buffer_size 1m; client_max_body_size 2m;
  client_body_temp_path %(d)s/b; proxy_temp_path %(d)s/p; fastcgi_temp_path %(d)s/f;
  uwsgi_temp_path %(d)s/u; scgi_temp_path %(d)s/s;
  upstream plain { server 127.0.0.1:%(up)d; keepalive 1024; keepalive_requests 1000000000;
    keepalive_timeout 600s; }
  server { listen 127.0.0.1:%(port)d reuseport backlog=4096; tcp_nodelay on;
    location / { proxy_pass http://plain; include proxy.conf; } }
  server { listen 127.0.0.1:%(log_port)d reuseport backlog=4096; tcp_nodelay on;
    access_log %(d)s/access.log combined buffer=64k;
    location / { proxy_pass http://plain; include proxy.conf; } }
%(tls)s}
""" % {"d": self.directory, "up": self.upstream.port, "port": self.port, "tls": tls, "log_port": self.log_port,
       "master": "off" if single else "on"})
        return ["nginx", "-c", path, "-p", self.directory]


class Haproxy(Proxy):
    """One thread; http-reuse always keeps upstream connections shared among clients."""
    name = "haproxy"

    def command(self, single):
        tls = "" if self.tls is None else """
frontend tls_front
  bind 127.0.0.1:%d
  default_backend tls
backend tls
  http-reuse always
  server provider 127.0.0.1:%d ssl verify required ca-file %s sni str(localhost) verifyhost localhost %s
""" % (self.tls_port, self.tls.port, self.tls.ca, "pool-max-conn -1 pool-purge-delay 600s")
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - 200
        path = self.write("haproxy.cfg", """global
  nbthread 1
  maxconn %d
  tune.bufsize 32768
defaults
  mode http
  no log
  maxconn %d
  option http-keep-alive
  option http-no-delay
  timeout connect 10s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
frontend plain_front
  bind 127.0.0.1:%d
  default_backend plain
backend plain
  http-reuse always
  server provider 127.0.0.1:%d pool-max-conn -1 pool-purge-delay 600s
%s""" % (most, most, self.port, self.upstream.port, tls))
        return ["haproxy", "-db", "-f", path]
