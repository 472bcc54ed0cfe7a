"""Loads an API server, starts the cockpit in a terminal and the engine, and prints what they weigh: see weight.sh."""

import fcntl
import http.client
import json
import os
import pty
import re
import select
import signal
import ssl
import struct
import subprocess
import sys
import termios
import threading
import time
from statistics import median

PROGRAM, KUBECONFIG, API = sys.argv[1:4]
# Process of the API server, where it is ours.
SERVER = int(sys.argv[4]) if len(sys.argv) > 4 else None
NAMESPACE = "graylane-weight"
number = lambda name, default: int(os.environ.get(name, default))
PODS, CHANGES, SECONDS, REST, STARTS = (
    number("PODS", 5000), number("CHANGES", 100), number("SECONDS", 20), number("REST", 60), number("STARTS", 5))
DEPLOYMENTS, APPS, RELEASES = 400, 200, 50
LIMIT = 120
WRITERS = 4

TEMPLATE = """apiVersion: apps/v1
kind: Deployment
metadata: {name: '{{ .AppStack.appName }}-{{ .AppStack.envName }}'}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {run: '{{ .AppStack.appName }}-{{ .AppStack.envName }}'}}
  template:
    metadata: {labels: {run: '{{ .AppStack.appName }}-{{ .AppStack.envName }}'}}
    spec:
      containers:
      - {name: main, image: '{{ .AppStack.image.backend }}'}
"""


class Api:
    """One connection to the API server."""

    def __init__(self):
        host = API.split("://")[1]
        if API.startswith("https"):
            context = ssl._create_unverified_context()
            self.connection = http.client.HTTPSConnection(host, context=context, timeout=LIMIT)
        else:
            self.connection = http.client.HTTPConnection(host, timeout=LIMIT)

    def send(self, method, path, body=None, kind="application/json"):
        headers = {"Authorization": "Bearer weight", "Content-Type": kind}
        text = None if body is None else json.dumps(body)
        self.connection.request(method, path, text, headers)
        answer = self.connection.getresponse()
        read = answer.read()
        if answer.status >= 400 and answer.status != 409:
            raise SystemExit(f"{method} {path}: {answer.status} {read[:300].decode()}")
        return read


def in_parallel(items, work):
    """Calls work(api, item) for each of the items, with a connection for each of some threads."""
    items, failed = iter(items), []
    lock = threading.Lock()

    def run():
        api = Api()
        while not failed:
            with lock:
                item = next(items, None)
            if item is None:
                return
            try:
                work(api, item)
            except BaseException as why:
                failed.append(why)
    threads = [threading.Thread(target=run) for _ in range(WRITERS)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    if failed:
        raise failed[0]


def app_of(deployment):
    """App and environment of a Deployment, by its number."""
    return f"app-{deployment % APPS:03}", ("prod", "gray")[deployment // APPS % 2]


def labels_of(deployment):
    app, environment = app_of(deployment)
    return {"graylane.dev/app": app, "graylane.dev/environment": environment, "run": f"{app}-{environment}"}


def container(deployment):
    env = [{"name": f"SETTING_{n:02}", "value": f"https://service-{n:02}.example.com/path/to/it?deployment={deployment}"}
           for n in range(22)]
    probe = {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 5}
    return {"name": "main", "image": "registry.example.com/team/app:v1.2.3", "env": env,
            "ports": [{"containerPort": 8080, "name": "http"}], "readinessProbe": probe, "livenessProbe": probe,
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}}


def app(n):
    environments = [
        {"name": "gray", "namespace": NAMESPACE, "lane": "gray", "values": {"replicas": 1}},
        {"name": "prod", "namespace": NAMESPACE, "values": {"replicas": 12}, "rollout": {"batches": [1, "100%"]}}]
    tasks = [{"name": "approve", "approval": {"requesterMayApprove": True}},
             {"name": "prod", "deploy": {"environment": "prod"}}]
    return {"apiVersion": "graylane.dev/v1alpha1", "kind": "App", "metadata": {"name": f"app-{n:03}"},
            "spec": {"images": {"backend": {"repository": "registry.example.com/team/app", "default": "app:v1"}},
                     "manifests": [{"name": "deployment.yaml", "template": TEMPLATE}], "environments": environments,
                     "workflow": {"stages": [{"name": "production", "tasks": tasks}]}}}


def release(n, requester):
    return {"apiVersion": "graylane.dev/v1alpha1", "kind": "Release", "metadata": {"name": f"app-{n:03}-1"},
            "spec": {"app": f"app-{n:03}", "stage": "production", "images": {"backend": "app:v2"},
                     "requester": requester}}


def deployment(n):
    app, environment = app_of(n)
    run = {"run": f"{app}-{environment}"}
    return {"metadata": {"name": f"{app}-{environment}", "labels": labels_of(n)},
            "spec": {"replicas": 12, "selector": {"matchLabels": run},
                     "template": {"metadata": {"labels": labels_of(n)}, "spec": {"containers": [container(n)]}}}}


def pod_name(n):
    app, environment = app_of(n % DEPLOYMENTS)
    return f"{app}-{environment}-5f6b8d7c9-{n:05}"


def pod(n):
    deployment = n % DEPLOYMENTS
    app, environment = app_of(deployment)
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{app}-{environment}-5f6b8d7c9", "controller": True,
             "uid": f"00000000-0000-0000-0000-{deployment:012}", "blockOwnerDeletion": True}
    return {"metadata": {"name": pod_name(n), "labels": labels_of(deployment) | {"pod-template-hash": "5f6b8d7c9"},
                         "ownerReferences": [owner]},
            "spec": {"nodeName": f"node-{n % 100:03}", "containers": [container(deployment)]}}


def pod_status(n, restarts):
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    kinds = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
    return {"status": {
        "phase": "Running", "podIP": f"10.{n // 65536}.{n // 256 % 256}.{n % 256}", "hostIP": f"192.168.0.{n % 100}",
        "startTime": now,
        "conditions": [{"type": k, "status": "True", "lastTransitionTime": now, "observedGeneration": 1} for k in kinds],
        "containerStatuses": [{
            "name": "main", "image": "registry.example.com/team/app:v1.2.3", "ready": True, "started": True,
            "imageID": "registry.example.com/team/app@sha256:" + "a" * 64, "restartCount": restarts,
            "containerID": "containerd://" + "b" * 64, "state": {"running": {"startedAt": now}}}]}}


OWN = f"/apis/graylane.dev/v1alpha1/namespaces/{NAMESPACE}"


def load():
    core, apps = f"/api/v1/namespaces/{NAMESPACE}", f"/apis/apps/v1/namespaces/{NAMESPACE}"
    Api().send("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    install = subprocess.run([PROGRAM, "--kubeconfig", KUBECONFIG, "-n", NAMESPACE, "install"], capture_output=True, text=True)
    if install.returncode:
        raise SystemExit(install.stderr)
    review = json.loads(Api().send("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}))
    me = review["status"]["userInfo"]["username"]
    in_parallel(range(APPS), lambda api, n: api.send("POST", f"{OWN}/apps", app(n)))
    in_parallel(range(RELEASES), lambda api, n: api.send("POST", f"{OWN}/releases", release(n, me)))
    in_parallel(range(DEPLOYMENTS), lambda api, n: api.send("POST", f"{apps}/deployments", deployment(n)))

    def make_pod(api, n):
        api.send("POST", f"{core}/pods", pod(n))
        change_pod(api, n, 0)
    in_parallel(range(PODS), make_pod)
    return len(Api().send("GET", f"{core}/pods/{pod_name(0)}")), me


def change_pod(api, n, restarts):
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod_name(n)}/status"
    api.send("PATCH", path, pod_status(n, restarts), "application/merge-patch+json")


class Churn:
    """Changes so many pods a second until it is stopped; those of Apps that have no release."""

    def __init__(self):
        free = [n for n in range(PODS) if n % DEPLOYMENTS % APPS >= RELEASES]
        self.over, self.done = threading.Event(), 0

        def run(nth):
            api, begun, mine = Api(), time.time(), 0
            while not self.over.is_set():
                change_pod(api, free[(nth + mine * WRITERS) * 7 % len(free)], 1 + mine)
                mine += 1
                self.done += 1
                self.over.wait(max(0, begun + mine * WRITERS / CHANGES - time.time()))
        self.threads = [threading.Thread(target=run, args=(n,)) for n in range(WRITERS)]
        [t.start() for t in self.threads]

    def stop(self):
        self.over.set()
        [t.join() for t in self.threads]


def cpu_seconds(pid):
    """CPU time of a process, also of its threads that have ended."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid, line="VmRSS"):
    with open(f"/proc/{pid}/status") as status:
        return next(int(l.split()[1]) / 1024 for l in status if l.startswith(line))


QUESTION = b"\x1b[5n"


class Cockpit:
    """The cockpit in a terminal of 160 by 40, which answers when it is asked for its state."""

    def __init__(self):
        self.begun = time.time()
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            size = struct.pack("HHHH", 40, 160, 0, 0)
            fcntl.ioctl(1, termios.TIOCSWINSZ, size)
            os.environ["TERM"] = "xterm-256color"
            os.environ["LANG"] = "C.UTF-8"
            os.execv(PROGRAM, [PROGRAM, "--kubeconfig", KUBECONFIG, "-n", NAMESPACE])
        self.bytes, self.seen, self.lock = 0, b"", threading.Lock()
        self.first_byte = self.first_frame = self.first_data = None
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        unread = b""
        while True:
            try:
                got = os.read(self.terminal, 65536)
            except OSError:
                return
            if not got:
                return
            now = time.time() - self.begun
            self.bytes += len(got)
            # Each question is answered; one may come in two reads, and two in one.
            asked = unread + got
            try:
                os.write(self.terminal, b"\x1b[0n" * asked.count(QUESTION))
            except OSError:
                return
            unread = asked[1 - len(QUESTION):]
            self.first_byte = self.first_byte or now
            if self.first_data is None:
                self.seen += got
                text = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", self.seen)
                if self.first_frame is None and b"Apps" in text:
                    self.first_frame = now
                if b"app-000" in text:
                    self.first_data = now

    def wait_for_data(self):
        while self.first_data is None:
            if time.time() - self.begun > LIMIT:
                raise SystemExit("the cockpit showed no App: " + repr(self.seen[-500:]))
            time.sleep(0.01)

    def end(self):
        os.kill(self.pid, signal.SIGTERM)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)


def percent(pid, seconds, written=lambda: 0):
    """CPU of a process in percent of a core, and what it has written, over some seconds."""
    cpu, bytes_before, begun = cpu_seconds(pid), written(), time.time()
    time.sleep(seconds)
    return (cpu_seconds(pid) - cpu) * 100 / (time.time() - begun), written() - bytes_before


def row(what, figure, goal=""):
    print(f"{what:<46}{figure:>12}  {goal}", flush=True)


def figures(name, pid, goal_memory, written=None):
    peak = memory(pid, "VmHWM")
    row(f"{name}: memory (peak so far)", f"{memory(pid):.0f} MB", f"{peak:.0f} MB; goal {goal_memory} MB")
    cpu, rest = percent(pid, REST, written or (lambda: 0))
    row(f"{name}: CPU at rest", f"{cpu:.2f} %", "goal 0.2 %")
    if written:
        row(f"{name}: output at rest, {REST} s", f"{rest} B", "goal 0 B")
    churn = Churn()
    time.sleep(2)
    begun, before = time.time(), churn.done
    cpu, _ = percent(pid, SECONDS)
    rate = (churn.done - before) / (time.time() - begun)
    churn.stop()
    row(f"{name}: CPU at {rate:.0f} changes/s", f"{cpu:.1f} %", "goal 5 %")
    row(f"{name}: memory after that", f"{memory(pid):.0f} MB", f"{memory(pid, 'VmHWM'):.0f} MB at most")


def settle(pid):
    """Waits until a process has been quiet for a while, at most some time."""
    begun = time.time()
    while time.time() - begun < LIMIT:
        before = cpu_seconds(pid)
        time.sleep(3)
        if cpu_seconds(pid) - before < 0.03:
            return


class Engine:
    """The engine, with the lines of its log."""

    def __init__(self):
        self.lines = []
        self.process = subprocess.Popen([PROGRAM, "--kubeconfig", KUBECONFIG, "-n", NAMESPACE, "engine", "--no-install"],
                                        stderr=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            if "LOG" in os.environ:
                sys.stderr.write(line)

    def count(self, words):
        return sum(words in line for line in self.lines)

    def end(self):
        self.process.terminate()
        self.process.wait()


class Starvation:
    """Lets the API server work for a twentieth of the time: most answers take 1 to 2 seconds."""

    def __init__(self):
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.over.is_set():
            os.kill(SERVER, signal.SIGSTOP)
            self.over.wait(1.9)
            os.kill(SERVER, signal.SIGCONT)
            self.over.wait(0.1)

    def stop(self):
        self.over.set()
        self.thread.join()


def begin_at_once(what, requester, limit):
    """A release of each App, created at once: how long until half of them, and all, have begun."""
    api = Api()
    api.send("DELETE", f"{OWN}/releases")
    time.sleep(3)
    begun, seen = time.time(), []
    in_parallel(range(APPS), lambda api, n: api.send("POST", f"{OWN}/releases", release(n, requester)))
    created = time.time() - begun
    while not seen or seen[-1][1] < APPS:
        items = json.loads(api.send("GET", f"{OWN}/releases"))["items"]
        phases = [item.get("status", {}).get("phase", "Pending") for item in items]
        seen.append((time.time() - begun, sum(phase != "Pending" for phase in phases)))
        if seen[-1][0] > limit:
            break
        time.sleep(0.1)
    at, count = seen[-1]
    half = next((t for t, n in seen if n >= APPS / 2), None)
    row(f"{what}: {count} of {APPS} releases have begun", f"{at:.1f} s",
        f"created in {created:.1f} s; half of them after {half or at:.1f} s")


def main():
    begun = time.time()
    size, requester = load()
    row("pods, bytes of one, loaded in", str(PODS), f"{size} B, {time.time() - begun:.0f} s")
    row("binary", f"{os.path.getsize(PROGRAM) / 1e6:.1f} MB", "goal 25 MB")
    engine = Engine()
    try:
        time.sleep(5)
        settle(engine.pid)
        figures("engine", engine.pid, 80)
    finally:
        engine.end()
    starts = []
    for _ in range(STARTS):
        cockpit = Cockpit()
        cockpit.wait_for_data()
        starts.append(cockpit)
        cockpit.end()
    milliseconds = lambda pick: f"{median(pick(c) for c in starts) * 1000:.0f} ms"
    row(f"cockpit: first byte (median of {STARTS})", milliseconds(lambda c: c.first_byte))
    row("cockpit: first frame", milliseconds(lambda c: c.first_frame), "goal 15 ms")
    row("cockpit: first screen of data", milliseconds(lambda c: c.first_data), "goal 120 ms")
    cockpit = Cockpit()
    try:
        cockpit.wait_for_data()
        time.sleep(5)
        settle(cockpit.pid)
        figures("cockpit", cockpit.pid, 50, lambda: cockpit.bytes)
    finally:
        cockpit.end()
    engine = Engine()
    try:
        time.sleep(5)
        begin_at_once("at once", requester, LIMIT)
        if SERVER:
            starved = Starvation()
            try:
                time.sleep(30)
                lost = engine.count("the Lease is lost")
                row("starved server: Leases lost in 30 s at rest", str(lost), "goal 0")
            finally:
                starved.stop()
            settle(engine.pid)
            starved = Starvation()
            try:
                begin_at_once("starved server", requester, LIMIT)
                row("starved server: Leases lost meanwhile", str(engine.count("the Lease is lost") - lost), "goal 0")
            finally:
                starved.stop()
    finally:
        engine.end()


main()
