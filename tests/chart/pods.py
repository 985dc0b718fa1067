"""Checks of rendered objects that no schema makes: what refers to what, how pods are confined, and whether the real
programs take the arguments, the environment and the configuration that the chart gives them."""
import os
import re
import subprocess

PROGRAM = re.compile(r"/(steelyard-(?:dataplane|controlplane|simulator))(?:[:@]|$)")
# What is not an option but used by a configuration.
OTHER_ENV = {"STEELYARD_SIMULATOR_URL", "STEELYARD_OPERATOR_KEY"}


def pod_of(o):
    if o["kind"] == "Pod":
        return o["spec"]
    return (o.get("spec") or {}).get("template", {}).get("spec") if o["kind"] in ("Deployment", "StatefulSet", "Job") else None


def containers(pod):
    return pod.get("initContainers", []) + pod["containers"]


def title(o):
    return "%s/%s" % (o["kind"], o["metadata"]["name"])


def labels(o):
    """Every object is marked, and nothing is in it twice."""
    seen = set()
    for o in o:
        key = (o["kind"], o["metadata"]["name"])
        if key in seen:
            yield "%s is there twice" % title(o)
        seen.add(key)
        has = o["metadata"].get("labels", {})
        for want in ("name", "instance", "version", "component", "part-of", "managed-by"):
            if "app.kubernetes.io/" + want not in has and not o["metadata"]["name"].endswith("-more"):
                yield "%s has no label app.kubernetes.io/%s" % (title(o), want)
        if o["kind"] in ("Deployment", "StatefulSet"):
            select = o["spec"]["selector"]["matchLabels"]
            if sorted(select) != ["app.kubernetes.io/component", "app.kubernetes.io/instance", "app.kubernetes.io/name"]:
                yield "%s selects by %s" % (title(o), sorted(select))
            if any(o["spec"]["template"]["metadata"]["labels"].get(k) != v for k, v in select.items()):
                yield "%s does not select its own pods" % title(o)


def confined(objects):
    for o in objects:
        pod = pod_of(o)
        if pod is None:
            continue
        of_pod = pod.get("securityContext", {})
        if not of_pod.get("runAsNonRoot") or of_pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield "%s: not confined" % title(o)
        if pod.get("automountServiceAccountToken") is not False or pod.get("enableServiceLinks") is not False:
            yield "%s: token or service links" % title(o)
        ours = any(PROGRAM.search(c["image"]) for c in containers(pod))
        if ours and (of_pod.get("runAsUser"), of_pod.get("runAsGroup"), of_pod.get("fsGroup")) != (65532,) * 3:
            yield "%s: not 65532" % title(o)
        for c in containers(pod):
            s = c.get("securityContext", {})
            if not s.get("readOnlyRootFilesystem") or s.get("allowPrivilegeEscalation") is not False \
                    or s.get("capabilities", {}).get("drop") != ["ALL"]:
                yield "%s: container %s is not confined" % (title(o), c["name"])
            for m in c.get("volumeMounts", []):
                if "subPath" in m:
                    yield "%s: %s is mounted by subPath and would not change" % (title(o), m["name"])


def connected(objects):
    """Mounts have volumes, services have pods with their ports, references lead somewhere or outside the chart."""
    made = {(o["kind"], o["metadata"]["name"]) for o in objects}
    full = next(o["metadata"]["name"] for o in objects if o["kind"] == "Deployment" and
                o["metadata"]["name"].endswith("-node"))[:-len("-node")]
    pods = [(o, pod_of(o), (o["metadata"] if o["kind"] == "Pod" else o["spec"]["template"]["metadata"]).get("labels", {}))
            for o in objects if pod_of(o)]

    def missing(kind, name):
        return name and name.startswith(full + "-") and (kind, name) not in made

    for o, pod, _ in pods:
        volumes = {v["name"]: v for v in pod.get("volumes", [])}
        volumes.update({v["metadata"]["name"]: {} for v in o["spec"].get("volumeClaimTemplates", [])})
        env_names = set()
        for c in containers(pod):
            for m in c.get("volumeMounts", []):
                if m["name"] not in volumes:
                    yield "%s: no volume %s" % (title(o), m["name"])
            names = [e["name"] for e in c.get("env", [])]
            env_names |= set(names)
            if len(names) != len(set(names)):
                yield "%s: a variable is there twice" % title(o)
            for e in c.get("env", []):
                ref = e.get("valueFrom", {}).get("secretKeyRef")
                if ref and missing("Secret", ref["name"]) and "-tls" not in ref["name"]:
                    yield "%s: no secret %s" % (title(o), ref["name"])
                secret = next((x for x in objects if ref and x["kind"] == "Secret" and x["metadata"]["name"] == ref["name"]), None)
                if secret and ref["key"] not in secret["data"]:
                    yield "%s: secret %s has no %s" % (title(o), ref["name"], ref["key"])
        mounted = {m["name"] for c in containers(pod) for m in c.get("volumeMounts", [])}
        for name in sorted(set(volumes) - mounted):
            yield "%s: volume %s is mounted nowhere" % (title(o), name)
        for v in volumes.values():
            name = v.get("secret", {}).get("secretName")
            cert = ("Certificate", name) in made
            if name and missing("Secret", name) and not cert:
                yield "%s: no secret %s" % (title(o), name)
            if missing("ConfigMap", v.get("configMap", {}).get("name")):
                yield "%s: no config map" % title(o)
    for o in objects:
        if o["kind"] != "Service":
            continue
        select = o["spec"]["selector"].items()
        hit = [p for _, p, has in pods if all(has.get(k) == v for k, v in select)]
        ports = {port["name"] for p in hit for c in containers(p) for port in c.get("ports", [])}
        if not hit:
            yield "%s selects no pod" % title(o)
        for port in o["spec"]["ports"]:
            if port["targetPort"] not in ports:
                yield "%s: no pod has port %s" % (title(o), port["targetPort"])
    for o in objects:
        target = o["spec"].get("scaleTargetRef") if "spec" in o else None
        if target:
            scaled = next(x for x in objects if x["kind"] == target["kind"] and x["metadata"]["name"] == target["name"])
            if "replicas" in scaled["spec"]:
                yield "%s: replicas are also in %s" % (title(o), title(scaled))


def seconds(args, name):
    return int(next(a for a in args if a.startswith("--%s=" % name)).split("=")[1].rstrip("s"))


def stop_in_time(objects):
    for role in ("node", "control"):
        deployment = next((o for o in objects if o["kind"] == "Deployment" and
                           o["metadata"]["name"].endswith("-" + role)), None)
        if deployment is None:
            yield "%s: no deployment" % role
            continue
        pod = pod_of(deployment)
        args = pod["containers"][0]["args"]
        need = seconds(args, "drain-delay") + seconds(args, "drain-timeout") + 30
        if pod["terminationGracePeriodSeconds"] < need:
            yield "%s: %d s to end, %d needed" % (role, pod["terminationGracePeriodSeconds"], need)
        if "lifecycle" in pod["containers"][0]:
            yield "%s: a hook; the process drains by itself" % role


def value_of(e):
    """A plausible value where the cluster would put one."""
    ref = e.get("valueFrom", {})
    if "resourceFieldRef" in ref:
        return "2" if ref["resourceFieldRef"]["resource"] == "limits.cpu" else "1073741824"
    return e.get("value", "postgresql://u@h/d" if e["name"] == "STEELYARD_DATABASE" else "x" * 24)


def programs_take_it(objects, bin_dir, config):
    help_of = {}
    for o in objects:
        pod = pod_of(o)
        for c in containers(pod) if pod else []:
            m = PROGRAM.search(c["image"])
            if not m:
                continue
            command = c.get("command", [m.group(1)])
            program = os.path.join(bin_dir, os.path.basename(command[0]))
            env = {"PATH": "/usr/bin:/bin"}
            env.update({e["name"]: value_of(e) for e in c.get("env", [])})
            where = "%s container %s" % (title(o), c["name"])
            args = [re.sub(r"/etc/steelyard/(config/)?steelyard.yaml", config, a) for a in command[1:] + c.get("args", [])]
            words = [a for a in args if not a.startswith("-")]
            ask = [program, *words, "--help"]
            if tuple(ask) not in help_of:
                done = subprocess.run(ask, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
                help_of[tuple(ask)] = done.stdout if done.returncode == 0 else ""
            helped = help_of[tuple(ask)]
            for a in args:
                name = a.split("=")[0].replace("--no-", "--")
                if a.startswith("--") and not re.search(r"%s\b(?!-)" % re.escape(name), helped):
                    yield "%s: %s has no %s" % (where, os.path.basename(program), a.split("=")[0])
            for e in env:
                if e.startswith("STEELYARD_") and e not in OTHER_ENV and e not in helped and \
                        "--" + e[len("STEELYARD_"):].lower().replace("_", "-") not in helped:
                    yield "%s: %s reads no %s" % (where, os.path.basename(program), e)
            if os.path.basename(program) in ("steelyard-dataplane", "steelyard-controlplane"):
                done = subprocess.run([program, *args, "--check-config"], capture_output=True, text=True, env=env)
                if done.returncode != 0:
                    yield "%s: exit %d: %s" % (where, done.returncode, (done.stdout + done.stderr).strip())


def config_of(objects, where, name, root_config):
    made = next((o for o in objects if o["kind"] == "ConfigMap" and "steelyard.yaml" in o.get("data", {})), None)
    if made is None:
        return root_config
    path = os.path.join(where, name + "-steelyard.yaml")
    with open(path, "w") as f:
        f.write(made["data"]["steelyard.yaml"])
    return path


def check(report, name, objects, bin_dir, where):
    root_config = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy", "steelyard.yaml")
    report.say("%s: labels and selectors" % name, labels(objects))
    report.say("%s: pods are confined" % name, confined(objects))
    report.say("%s: references lead somewhere" % name, connected(objects))
    report.say("%s: who stops has time to drain" % name, stop_in_time(objects))
    config = config_of(objects, where, name, root_config)
    done = subprocess.run([os.path.join(bin_dir, "steelyard-controlplane"), "--check-config", "--config", config],
                          capture_output=True, text=True)
    report.say("%s: the control plane takes its steelyard.yaml" % name, [done.stderr] if done.returncode else [])
    report.say("%s: the programs take every argument and variable" % name,
               programs_take_it(objects, bin_dir, config))
