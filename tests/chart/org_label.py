#!/usr/bin/env python3
"""org_label.py LABEL ways|few - changes the label that binds a namespace to an organisation, on the real API server of
KUBECONFIG, in every way and as three users: one with every right on namespaces, one who may also bind acme, and a
cluster-admin (install.sh makes them). Each change must be allowed or refused as the right to bind says, and happen or not."""
import http.client, json, os, socket, subprocess, sys, tempfile, time

LABEL, FEW = sys.argv[1], sys.argv[2] == "few"
USERS = {"chart-nobind": set(), "chart-acme": {"acme"}, "chart-clusteradmin": {"acme", "beta"}}
NS = "/api/v1/namespaces"
ok, failures = 0, []


def check(good, what):
    global ok
    if good:
        ok += 1
    else:
        failures.append(what)
        print(f"FAIL {what}")


class Conn(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(SOCKET)


def call(method, path, body=None, user=None, kind="application/json"):
    c = Conn("localhost")
    c.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": kind, **({"Impersonate-User": user} if user else {})})
    r = c.getresponse()
    out = json.loads(r.read())
    c.close()
    return r.status, out


def namespace(name, org):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"chart-test": "yes", **({LABEL: org} if org else {})}}}


def org():
    return call("GET", f"{NS}/chart-org")[1]["metadata"]["labels"].get(LABEL, "")


def force(to):
    status, out = call("PATCH", f"{NS}/chart-org", {"metadata": {"labels": {LABEL: to or None}}}, None, "application/merge-patch+json")
    assert status == 200, out


# The ways: each takes (user, subresource path, new org).
def put(user, sub, to):
    o = call("GET", f"{NS}/chart-org")[1]
    o["metadata"]["labels"].pop(LABEL, None)
    if to:
        o["metadata"]["labels"][LABEL] = to
    return call("PUT", f"{NS}/chart-org{sub}", o, user)


def merge(user, sub, to, kind="application/merge-patch+json"):
    return call("PATCH", f"{NS}/chart-org{sub}", {"metadata": {"labels": {LABEL: to or None}}}, user, kind)


def strategic(user, sub, to):
    return merge(user, sub, to, "application/strategic-merge-patch+json")


def labels_replaced(user, sub, to):
    """All labels at once, by JSON patch."""
    return call("PATCH", f"{NS}/chart-org{sub}", [{"op": "replace", "path": "/metadata/labels", "value": namespace("chart-org", to)["metadata"]["labels"]}],
                user, "application/json-patch+json")


def json_patch(user, sub, to):
    path = "/metadata/labels/" + LABEL.replace("/", "~1")
    op = {"op": "add", "path": path, "value": to} if to else {"op": "remove", "path": path}
    return call("PATCH", f"{NS}/chart-org{sub}", [op], user, "application/json-patch+json")


def server_side(user, sub, to):
    """Leaving a label out would not take it from another manager: an empty one counts as none."""
    o = namespace("chart-org", to)
    o["metadata"]["labels"][LABEL] = to
    return call("PATCH", f"{NS}/chart-org{sub}?fieldManager=chart-test&force=true", o, user, "application/apply-patch+yaml")


WAYS = [(w, s) for w in (put, merge, strategic, json_patch, labels_replaced, server_side) for s in ("", "/status")] + [(put, "/finalize")]
if FEW:
    WAYS = [(put, ""), (merge, "/status"), (put, "/finalize")]
CHANGES = [("", "acme"), ("", "beta"), ("acme", ""), ("beta", ""), ("acme", "beta"), ("beta", "acme"), ("acme", "acme"), ("beta", "beta"), ("", "")]


def message(name, binding):
    words = "binding a namespace to" if binding else "taking a namespace from"
    return f'label {LABEL}: {words} organisation "{name}" needs the right to bind organisations.secretref.dev/{name}'


def main():
    call("POST", NS, namespace("chart-org", ""))
    for user, may_bind in USERS.items():                    # until the API server has heard of the roles and of the policy
        for _ in range(1200):
            status, out = merge(user, "", "acme")
            force("")
            if status == 200 if "acme" in may_bind else status == 403 and message("acme", True) in out["message"]:
                break
            time.sleep(0.1)
    for user, may_bind in USERS.items():
        for to in ("", "acme", "beta"):
            for how in ("POST", "apply"):
                # Of this run alone: a namespace of the last one may not be gone yet.
                name = f"chart-new-{how.lower()}-{user[6:]}-{to or 'none'}-{os.getpid()}"
                status, out = (call("POST", NS, namespace(name, to), user) if how == "POST" else
                               call("PATCH", f"{NS}/{name}?fieldManager=chart-test", namespace(name, to), user, "application/apply-patch+yaml"))
                what = f"{user} creates a namespace with '{to}' by {how}: {status} {out.get('message')}"
                if not to or to in may_bind:
                    check(status == 201, what)
                    call("DELETE", f"{NS}/{name}")
                else:
                    check(status == 403 and message(to, True) in out["message"], what)
                    check(call("GET", f"{NS}/{name}")[0] == 404, what + ": not there")
        for way, sub in WAYS:
            for before, to in CHANGES:
                if org() != before or (way is json_patch and not to):
                    force(before)
                if way is json_patch and not before and not to:
                    continue                                # it cannot remove what is not there
                status, out = way(user, sub, to)
                what = f"{user}, {way.__name__} {sub or 'main'}: '{before}' to '{to}': {status} {out.get('message')}"
                if before == to or {before, to} - {""} <= may_bind:
                    check(status == 200, what)
                    check(org() == to, what + ": has happened")
                else:
                    texts = [message(to, True) if to and to not in may_bind else None, message(before, False) if before and before not in may_bind else None]
                    check(status == 403 and any(t and t in out["message"] for t in texts), what)
                    check(org() == before, what + ": has not happened")
        status, out = call("PATCH", f"{NS}/chart-org", {"metadata": {"labels": {"other": user}}}, user, "application/merge-patch+json")
        check(status == 200, f"{user} sets another label: {status} {out.get('message')}")
    force("acme")
    status, out = call("DELETE", f"{NS}/chart-org", None, "chart-nobind")
    check(status == 200, f"a namespace with an organisation can be deleted: {status} {out.get('message')}")
    for _ in range(1800):                                   # the controller ends it through `finalize`
        if call("GET", f"{NS}/chart-org")[0] == 404:
            break
        time.sleep(0.1)
    check(call("GET", f"{NS}/chart-org")[0] == 404, "and goes")


with tempfile.TemporaryDirectory() as tmp:
    SOCKET = os.path.join(tmp, "api")
    proxy = subprocess.Popen(["kubectl", "proxy", "--unix-socket", SOCKET], stdout=subprocess.DEVNULL)
    try:
        for _ in range(1200):                               # the file is there before anybody listens
            try:
                call("GET", "/version")
                break
            except OSError:
                time.sleep(0.1)
        main()
    finally:
        proxy.terminate()
        proxy.wait()
print(f"chart: label {LABEL}: {ok} of {ok + len(failures)} checks passed")
sys.exit(1 if failures else 0)
