"""Checks of deploy/compose.yaml: its schema, that everything it refers to is there, and that the real programs take the
arguments it gives them."""
import json
import os
import re
import subprocess

import pods

OURS = re.compile(r"^steelyard/(steelyard[a-z-]*):(.+)$")


def references(compose, folder, version):
    services = compose["services"]
    for name, s in services.items():
        m = OURS.match(s["image"])
        if m and m.group(2) != version:
            yield "%s: version %s, not %s" % (name, m.group(2), version)
        if m:
            build = s.get("build", {})
            path = os.path.join(folder, build.get("context", "."), build.get("dockerfile", ""))
            if not os.path.isfile(path):
                yield "%s: no %s" % (name, path)
            else:
                with open(path) as f:
                    text = f.read()
                if 'image.title="%s"' % m.group(1) not in text:
                    yield "%s: %s makes another image" % (name, build["dockerfile"])
            if not s.get("read_only") or s.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in s.get("security_opt", []):
                yield "%s: not confined" % name
        for v in s.get("volumes", []):
            source, target = v.split(":")[:2]
            if source.startswith("."):
                if not os.path.exists(os.path.join(folder, source)):
                    yield "%s: no file %s" % (name, source)
            elif source not in compose["volumes"]:
                yield "%s: no volume %s" % (name, source)
            if not target.startswith("/"):
                yield "%s: %s is mounted on no path" % (name, v)
        for other, how in s.get("depends_on", {}).items():
            if other not in services:
                yield "%s: waits for %s, which is not there" % (name, other)
            elif how["condition"] == "service_healthy" and "healthcheck" not in services[other]:
                yield "%s: waits for the health of %s, which has no check" % (name, other)
        words = " ".join(s.get("command", []) + list(s.get("environment", {}).values() if isinstance(s.get("environment"), dict) else []))
        for host in re.findall(r"(?:https?://|--control=|host=)([a-z][a-z0-9-]*)", words):
            if host not in services:
                yield "%s: speaks to %s, which is not there" % (name, host)
        for port in s.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                yield "%s: port %s is open to everyone" % (name, port)


def mounted(compose):
    """Paths in arguments lie in what is mounted."""
    for name, s in compose["services"].items():
        targets = [v.split(":")[1] for v in s.get("volumes", [])]
        for a in s.get("command", []):
            path = re.match(r"--[a-z-]+=(/etc/[^ ]+)$", a)
            if path and not any(path.group(1) == t or path.group(1).startswith(t + "/") for t in targets):
                yield "%s: nothing is mounted for %s" % (name, a)


def node_stops_in_time(compose):
    for name, s in compose["services"].items():
        if "dataplane" in s["image"] and int(s.get("stop_grace_period", "0s").rstrip("s")) < 10 + 600 + 30:
            yield "%s: too little time to drain" % name


def as_pods(compose):
    """The services as pods, for the check of arguments."""
    out = []
    for name, s in compose["services"].items():
        m = OURS.match(s["image"])
        if m and "entrypoint" not in s:
            env = s.get("environment", {})
            env = [{"name": k, "value": v} for k, v in env.items()] if isinstance(env, dict) else []
            out.append({"kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [{
                "name": name, "image": s["image"], "args": s.get("command", []), "env": env}]}})
    return out


def check(report, root, bin_dir):
    here = os.path.dirname(os.path.abspath(__file__))
    folder = os.path.join(root, "deploy")
    done = subprocess.run(["node", os.path.join(here, "compose.mjs"), os.path.join(folder, "compose.yaml")],
                          capture_output=True, text=True)
    report.say("compose.yaml is valid by the Compose specification", done.stderr.splitlines() if done.returncode else [])
    if not done.stdout:
        return
    compose = json.loads(done.stdout)
    with open(os.path.join(root, "CMakeLists.txt")) as f:
        version = re.search(r"project\(steelyard VERSION ([0-9.]+)", f.read()).group(1)
    with open(os.path.join(root, "helm", "steelyard", "Chart.yaml")) as f:
        chart = f.read()
    report.say("chart, images and programs have one version",
               ["Chart.yaml: not %s" % version] if 'appVersion: "%s"' % version not in chart else [])
    report.say("compose.yaml: references lead somewhere", references(compose, folder, version))
    report.say("compose.yaml: paths are mounted", mounted(compose))
    report.say("compose.yaml: nodes have time to drain", node_stops_in_time(compose))
    report.say("compose.yaml: the programs take every argument",
               pods.programs_take_it([p for p in as_pods(compose)], bin_dir, os.path.join(folder, "steelyard.yaml")))
