#!/usr/bin/env python3
"""check.py HELM CHART OUT_DIR - renders the chart in many ways and checks what comes out; leaves manifests in OUT_DIR."""
import copy, glob, json, os, re, shutil, subprocess, sys, tempfile

try:
    import yaml
except ImportError:
    sys.exit("check.py needs PyYAML (Debian: python3-yaml)")

HELM, CHART, OUT = sys.argv[1], os.path.abspath(sys.argv[2]), sys.argv[3]
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
GROUP = "secretref.dev"
failures, checks = [], 0


def check(ok, what):
    global checks
    checks += 1
    if not ok:
        failures.append(what)
        print(f"FAIL {what}")


def helm(chart, values=None, *more):
    """Runs helm template with a dict of values; gives (exit code, output, error)."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        yaml.safe_dump(values or {}, f)
        f.flush()
        r = subprocess.run([HELM, "template", "secretref", chart, "-n", "secretref", "--kube-version", "1.35.4", "-f", f.name, *more],
                           capture_output=True, text=True)
    return r.returncode, r.stdout, r.stderr


class Strict(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):
    """YAML 1.1 as Kubernetes reads it, but a key that is there twice is an error."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(k) for k, _ in node.value]
        if len(keys) != len(set(keys)):
            raise ValueError(f"a key is there twice: {sorted(keys)}")
        return super().construct_mapping(node, deep)


def parse(text):
    return [d for d in yaml.load_all(text, Loader=Strict) if d]


def render(values=None, chart=None):
    code, out, err = helm(chart or CHART, values)
    if code:
        sys.exit(f"helm template failed: {err}")
    return parse(out)


def kinds(docs, kind):
    return [d for d in docs if d["kind"] == kind]


def one(docs, kind, name=None):
    found = [d for d in kinds(docs, kind) if name in (None, d["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def load(name):
    with open(os.path.join(HERE, "values", name)) as f:
        return yaml.safe_load(f)


def rights(docs):
    """The rights of the operator's account: {(namespace or *, group, resource, names): verbs}."""
    out = {}
    bound = {(d["roleRef"]["kind"], d["roleRef"]["name"], d["metadata"].get("namespace", "*")) for d in docs if d["kind"].endswith("RoleBinding")}
    for d in docs:
        if d["kind"] not in ("Role", "ClusterRole"):
            continue
        key = (d["kind"], d["metadata"]["name"], d["metadata"].get("namespace", "*"))
        if key not in bound:
            continue
        for r in d["rules"]:
            for g in r["apiGroups"]:
                for res in r["resources"]:
                    k = (key[2], g, res, ",".join(r.get("resourceNames", [])))
                    out[k] = " ".join(sorted(set(out.get(k, "").split()) | set(r["verbs"])))
    return out


# What the operator may do, in full. Whoever changes the chart's roles changes this table, on purpose.
READ, SECRETS = "get list watch", "create delete get list patch watch"
CLUSTER = {
    ("*", GROUP, "clustersecretstores", ""): READ,
    ("*", GROUP, "clustersecretstores/status", ""): "patch",
    ("*", "", "namespaces", ""): READ,
}
OWN = {
    ("secretref", "coordination.k8s.io", "leases", ""): "create",
    ("secretref", "coordination.k8s.io", "leases", "secretref"): "get patch update",
    ("secretref", "", "secrets", ""): "create",
    ("secretref", "", "secrets", "secretref-fingerprint-key"): "get",
    ("secretref", "", "configmaps", ""): READ,
    ("secretref", "", "serviceaccounts/token", "secretref"): "create",
}


def served(ns):
    return {
        (ns, GROUP, "secretreferences", ""): READ,
        (ns, GROUP, "secretstores", ""): READ,
        (ns, GROUP, "secretreferences/status", ""): "patch",
        (ns, GROUP, "secretstores/status", ""): "patch",
        (ns, "", "secrets", ""): SECRETS,
        (ns, "events.k8s.io", "events", ""): "create patch",
    }


def general(docs, what):
    """What holds for every rendering."""
    seen = set()
    for d in docs:
        m = d["metadata"]
        key = (d["apiVersion"], d["kind"], m.get("namespace"), m["name"])
        check(key not in seen, f"{what}: {key} only once")
        seen.add(key)
        for r in d.get("rules", []) if d["kind"] in ("Role", "ClusterRole") else []:
            words = r["verbs"] + r["resources"] + r["apiGroups"]
            check(not any("*" in w for w in words), f"{what}: {key}: no wildcard: {r}")
            check(not {"impersonate", "escalate", "bind"} & set(r["verbs"]), f"{what}: {key}: no escalation: {r}")
            check("secrets" not in r["resources"] or not {"update", "deletecollection"} & set(r["verbs"]), f"{what}: {key}: secrets: {r}")
        if d["kind"] == "CustomResourceDefinition":
            check(m["annotations"].get("helm.sh/resource-policy") == "keep", f"{what}: {key}: kept on uninstall")
            check("helm.sh/hook" not in m["annotations"], f"{what}: {key}: not a hook")


def restricted(docs, what):
    """The Pod Security Standard `restricted`, and a read-only root."""
    pod = one(docs, "Deployment")["spec"]["template"]["spec"]
    c = pod["containers"][0]
    ps, cs = pod["securityContext"], c["securityContext"]
    check(ps["runAsNonRoot"] is True and ps["runAsUser"] == 65532, f"{what}: pod runs as 65532")
    check(ps["seccompProfile"] == {"type": "RuntimeDefault"}, f"{what}: seccomp")
    check(cs["allowPrivilegeEscalation"] is False and cs["readOnlyRootFilesystem"] is True, f"{what}: no escalation, read-only root")
    check(cs["capabilities"] == {"drop": ["ALL"]}, f"{what}: no capabilities")
    check(not any(pod.get(k) for k in ("hostNetwork", "hostPID", "hostIPC", "volumes")), f"{what}: nothing of the host")
    check(c["resources"]["limits"]["memory"] and c["resources"]["requests"], f"{what}: resources")


def args(docs):
    return one(docs, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]


# ---- the default
docs = render()
general(docs, "default")
restricted(docs, "default")
BASE_ARGS = ["operator", "--metrics-addr=0.0.0.0:9402", "--health-addr=0.0.0.0:8081", "--log-format=json", "--explain-addr=127.0.0.1:9404"]
def with_args(*more): return [*BASE_ARGS[:-1], *more, BASE_ARGS[-1]]
check(args(docs) == BASE_ARGS, f"default args: {args(docs)}")
check(rights(docs) == {**CLUSTER, **OWN, **served("*")}, f"default rights: {rights(docs)}")
check({d["metadata"]["namespace"] for d in docs if "namespace" in d["metadata"]} == {"secretref"}, "default: namespaced objects in the release's namespace")
c = one(docs, "Deployment")["spec"]["template"]["spec"]["containers"][0]
check(c["image"] == "ghcr.io/secretref/secretref:" + yaml.safe_load(open(os.path.join(CHART, "Chart.yaml")))["appVersion"], "default image")
check({e["name"]: e.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath") for e in c["env"]}
      == {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "POD_IP": "status.podIP", "SERVICE_ACCOUNT": "spec.serviceAccountName"}, "default env")
check((c["livenessProbe"]["httpGet"], c["readinessProbe"]["httpGet"]) == ({"path": "/healthz", "port": "health"}, {"path": "/readyz", "port": "health"}), "probes")
view, edit = (one(docs, "ClusterRole", f"secretref-{n}") for n in ("view", "edit"))
AGG = "rbac.authorization.k8s.io/aggregate-to-"
check({k[len(AGG):] for k in view["metadata"]["labels"] if k.startswith(AGG)} == {"view", "edit", "admin"}, "view aggregates")
check({k[len(AGG):] for k in edit["metadata"]["labels"] if k.startswith(AGG)} == {"edit", "admin"}, "edit aggregates")
check(edit["rules"][0]["resources"] == ["secretreferences"], "edit does not give SecretStores while tenants may not have them")
check({r for x in (view, edit) for r in x["rules"][0]["resources"]} == {"secretreferences", "secretstores"}, "view gives nothing else")
policy = one(docs, "ValidatingAdmissionPolicy", "secretref-org-binding")["spec"]
check(policy["failurePolicy"] == "Fail" and set(policy["matchConstraints"]) == {"resourceRules"}, "the org policy exempts nothing")
check(policy["matchConstraints"]["resourceRules"][0]["resources"] == ["namespaces", "namespaces/*"], "the org policy covers subresources")
for d in kinds(docs, "ValidatingAdmissionPolicyBinding"):
    check(set(d["spec"]) == {"policyName", "validationActions"} and d["spec"]["validationActions"] == ["Deny"], "bindings exempt nothing")

# ---- single switches
docs = render({"rollout": {"enabled": True}})
want = {("*", "apps", r, ""): "list patch" for r in ("deployments", "statefulsets", "daemonsets")}
check(rights(docs) == {**CLUSTER, **OWN, **served("*"), **want} and args(docs) == BASE_ARGS, "rollout")

docs = render({"tenantStores": {"enabled": True, "allowedHosts": ["a.example.com", "b.example.com"]}})
check(rights(docs) == {**CLUSTER, **OWN, **served("*"), ("*", "", "configmaps", ""): READ}, "tenant stores: rights")
check(args(docs) == with_args("--tenant-stores", "--tenant-allowed-host=a.example.com", "--tenant-allowed-host=b.example.com"), "tenant stores: args")
check(one(docs, "ClusterRole", "secretref-edit")["rules"][0]["resources"] == ["secretreferences", "secretstores"], "tenant stores: edit")

docs = render({"secrets": {"access": "WriteOnly"}, "kubernetesStoreNamespaces": ["platform-secrets"]})
want = {**CLUSTER, **OWN, **served("*"), ("*", "", "secrets", ""): "create update", ("secretref", "", "secrets", ""): "create get list watch", ("platform-secrets", "", "secrets", ""): READ}
check(rights(docs) == want, f"write only: rights: {rights(docs)}")
check(args(docs) == with_args("--secrets-access=WriteOnly"), "write only: args")

docs = render({"hooks": {"enabled": True}, "networkPolicy": {"enabled": True}})
want = {**CLUSTER, **OWN, **served("*"), ("secretref", "", "configmaps", ""): "create delete get list update watch", ("secretref", "", "secrets", "secretref-hooks"): "get"}
check(rights(docs) == want, f"hooks: rights: {rights(docs)}")
check(args(docs) == BASE_ARGS + ["--hooks-addr=0.0.0.0:9403", "--hooks-secret=secretref-hooks"], "hooks: args")
restricted(docs, "hooks")
c = one(docs, "Deployment")["spec"]["template"]["spec"]["containers"][0]
check({"name": "hooks", "containerPort": 9403} in c["ports"], "hooks: port")
check({e["name"]: e["valueFrom"]["fieldRef"]["fieldPath"] for e in c["env"]}["POD_UID"] == "metadata.uid", "hooks: the pod's uid")
check(one(docs, "Service", "secretref-hooks")["spec"]["ports"] == [{"name": "hooks", "port": 80, "targetPort": "hooks"}], "hooks: service")
check({p["port"] for p in one(docs, "NetworkPolicy")["spec"]["ingress"][0]["ports"]} == {"metrics", "hooks"}, "hooks: network policy")
check("hooks" not in str([d for d in render() if d["kind"] != "CustomResourceDefinition"]), "hooks: nothing of them by default")

docs = render({"replicaCount": 1, "leaderElection": {"enabled": False}})
check(args(docs) == with_args("--no-leader-election"), "no leader election: args")
check(one(docs, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}, "no leader election: never two at once")

docs = render({"image": {"tag": "sha256:" + "a" * 64}})
check(one(docs, "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"].endswith("secretref@sha256:" + "a" * 64), "image by digest")

docs = render({"serviceAccount": {"create": False, "name": "mine"}})
check(rights(docs)[("secretref", "", "serviceaccounts/token", "mine")] == "create" and not kinds(docs, "ServiceAccount"), "own ServiceAccount")
check("system:serviceaccount:secretref:mine'" in str(one(docs, "ValidatingAdmissionPolicy", "secretref-target-types")), "own ServiceAccount: target policy")

docs = render({"networkPolicy": {"enabled": True}, "podDisruptionBudget": {"enabled": True}})
check(one(docs, "NetworkPolicy")["spec"]["egress"] == [{"ports": [{"port": 53, "protocol": "UDP"}, {"protocol": "TCP"}]}], "network policy: default")
check(one(docs, "PodDisruptionBudget")["spec"]["minAvailable"] == 1, "disruption budget: default")

docs = render()
pod = one(docs, "Deployment")["spec"]["template"]["spec"]
check(one(docs, "Deployment")["spec"]["replicas"] == 2, "two replicas: one leads, one is warm")
check([(t["topologyKey"], t["whenUnsatisfiable"]) for t in pod["topologySpreadConstraints"]] == [("kubernetes.io/hostname", "ScheduleAnyway")], "on two nodes, if there are two")
check("topologySpreadConstraints" not in one(render({"replicaCount": 1}), "Deployment")["spec"]["template"]["spec"], "one replica is spread over nothing")
check(not kinds(docs, "PrometheusRule") and not kinds(docs, "ConfigMap"), "no alerts and no dashboard by default")

docs = render({"metrics": {"prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}}})
general(docs, "alerts")
rules = [r for g in one(docs, "PrometheusRule")["spec"]["groups"] for r in g["rules"]]
check(all("MATCHERS" not in r["expr"] and 'namespace="secretref"' in r["expr"] for r in rules), "alerts: of this installation")
check(all(r["annotations"]["runbook_url"] == f"https://github.com/secretref/secretref/blob/main/docs/runbooks/{r['alert']}.md" for r in rules), "alerts: runbooks")
check({f"{r['alert']}.md" for r in rules} == set(os.listdir(os.path.join(ROOT, "docs", "runbooks"))), "alerts: each has its runbook")
config = one(docs, "ConfigMap", "secretref-dashboard")
check(config["metadata"]["labels"]["grafana_dashboard"] == "1", "dashboard: the label that Grafana's sidecar looks for")
dashboard = json.loads(config["data"]["secretref.json"])
check(dashboard["uid"] == "secretref" and len({p["id"] for p in dashboard["panels"]}) == len(dashboard["panels"]) > 15, "dashboard: panels")
docs = render({"metrics": {"prometheusRule": {"enabled": True, "matchers": 'job="x"', "runbookBaseUrl": "https://wiki/r/"}}})
rule = one(docs, "PrometheusRule")["spec"]["groups"][0]["rules"][0]
check('{job="x"}' in rule["expr"] and rule["annotations"]["runbook_url"].startswith("https://wiki/r/Secretref"), f"alerts: told otherwise: {rule}")

# ---- the value files
docs = render(load("namespaced.yaml"))
general(docs, "namespaced")
restricted(docs, "namespaced")
want = {**CLUSTER, **OWN, **served("team-a"), **served("team-b"), ("secretref", "", "secrets", ""): "create get list watch",
        ("platform-secrets", "", "secrets", ""): READ, ("default", "events.k8s.io", "events", ""): "create patch"}
check(rights(docs) == want, f"namespaced rights: {rights(docs)}")
check(args(docs) == with_args("--namespace=team-a", "--namespace=team-b"), "namespaced args")

docs = render({**load("namespaced.yaml"), "rbac": {"scope": "Namespaced"}, "tenantStores": {"enabled": True, "allowedHosts": ["a.example.com"]}})
general(docs, "roles alone")
want = {**OWN, **served("team-a"), **served("team-b"), ("secretref", "", "secrets", ""): "create get list watch", ("platform-secrets", "", "secrets", ""): READ}
for ns in ("team-a", "team-b"):
    want |= {(ns, "", "namespaces", ""): "get", (ns, "", "configmaps", ""): READ}
check(rights(docs) == want, f"roles alone: rights: {rights(docs)}")
check(not kinds(docs, "ClusterRoleBinding") and "--roles-only" in args(docs), "roles alone: no ClusterRole is bound")
for wrong in ({"rbac": {"scope": "Namespaced"}}, {"rbac": {"scope": "Namespaced"}, "watchNamespaces": ["team-a"]}):
    check(helm(CHART, wrong)[0] != 0, f"roles alone: refused without namespaces or stores: {wrong}")

docs = render(load("minimal.yaml"))
check([d["kind"] for d in docs] == ["Deployment"], f"minimal: {[d['kind'] for d in docs]}")

everything = load("everything.yaml")
docs = render(everything)
general(docs, "everything")
check(args(docs) == ["operator", "--metrics-addr=[::]:9500", "--health-addr=[::]:9501", "--log-format=text", "--target-type=example.com/api-token",
                     "--refuse-metadata-prefix=argocd.argoproj.io/", "--tenant-stores", "--tenant-allowed-host=vault.example.com",
                     "--tenant-allowed-host=bao.example.com:8200", "--explain-addr=127.0.0.1:9503", "--hooks-addr=[::]:9502", "--hooks-secret=hook-keys", "--some-flag=a b"], f"everything: args {args(docs)}")
check(all(d["metadata"]["labels"]["cost-center"] == "42" for d in docs if d["metadata"]["name"] != "extra"), "everything: commonLabels")
check("secretref.dev/org" not in str(one(docs, "ValidatingAdmissionPolicy", "sr-platform-org-binding")["spec"]), "everything: only the label that was asked for")
check({d["metadata"]["namespace"] for d in docs if "namespace" in d["metadata"]} == {"sr-system", "monitoring"}, "everything: namespaceOverride")
check(one(docs, "ConfigMap", "extra")["data"] == {"template": "url={{ DB_USER }}"}, "everything: extraObjects are no templates")
sel = one(docs, "Deployment")["spec"]["selector"]["matchLabels"]
check(all(one(docs, "Deployment")["spec"]["template"]["metadata"]["labels"].get(k) == v for k, v in sel.items()), "everything: the selector selects")
check(all(d["spec"]["selector"] == sel for d in kinds(docs, "Service")) and len(kinds(docs, "Service")) == 2, "everything: services select")
check(sel == one(docs, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"], "everything: one selector")

# ---- every value is in everything.yaml, in the schema and in the documentation, and makes a difference
def leaves(v, path=()):
    if isinstance(v, dict) and v:
        for k, w in v.items():
            yield from leaves(w, path + (k,))
    else:
        yield path


def without(values, path):
    values = copy.deepcopy(values)
    inner = values
    for k in path[:-1]:
        inner = inner[k]
    del inner[path[-1]]
    return values


def has(values, path):
    for k in path:
        if not isinstance(values, dict) or k not in values:
            return False
        values = values[k]
    return True


with open(os.path.join(CHART, "values.yaml")) as f:
    defaults = yaml.safe_load(f)
with open(os.path.join(ROOT, "docs", "chart.md")) as f:
    documented = set(re.findall(r"^\| `([A-Za-z.]+)` \|", f.read(), re.M))
FREE = ("resources", "podSecurityContext", "securityContext")
for p in leaves(defaults):
    check(has(everything, p if p[0] not in FREE else p[:1]), f"everything.yaml has {'.'.join(p)}")
    check(any(".".join(p[:n]) in documented for n in range(1, len(p) + 1)), f"docs/chart.md has {'.'.join(p)}")
for name in documented:
    check(has(defaults, name.split(".")) or name in ("installCRDs", "podDisruptionBudget.maxUnavailable"), f"{name} of docs/chart.md is a value")
NEUTRAL = {  # at their default in everything.yaml, or without a meaning there: tried above
    "installCRDs", "crds.enabled", "leaderElection.enabled", "watchNamespaces", "secrets.access", "kubernetesStoreNamespaces", "orgPolicy.enabled", "targetPolicy.enabled",
    "rbac.create", "rbac.scope", "serviceAccount.create", "metrics.service.enabled", "podDisruptionBudget.minAvailable", "livenessProbe.successThreshold",
}
_, whole, _ = helm(CHART, everything)
for p in leaves(everything):
    if ".".join(p) not in NEUTRAL:
        _, out, _ = helm(CHART, without(everything, p))
        check(out != whole, f"{'.'.join(p)} makes a difference")

# ---- bad values are refused, each by a message that names the field
BAD = [
    ({"replicas": 2}, "replicas"),
    ({"replicaCount": -1}, "replicaCount"),
    ({"replicaCount": "two"}, "replicaCount"),
    ({"replicaCount": 2, "leaderElection": {"enabled": False}}, "replicaCount"),
    ({"metrics": {"prometheusRule": {"matchers": 'namespace="a"} or vector(1)'}}}, "matchers"),
    ({"metrics": {"prometheusRule": {"runbookBaseUrl": "docs/runbooks"}}}, "runbookBaseUrl"),
    ({"metrics": {"dashboards": {"labels": {"grafana_dashboard": 1}}}}, "grafana_dashboard"),
    ({"image": {"tags": "1"}}, "tags"),
    ({"image": {"tag": "a tag"}}, "tag"),
    ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    ({"imagePullSecrets": ["registry"]}, "imagePullSecrets"),
    ({"fullnameOverride": "Not_A_Name"}, "fullnameOverride"),
    ({"installCRDs": "yes"}, "installCRDs"),
    ({"crds": {"create": True}}, "create"),
    ({"leaderElection": True}, "leaderElection"),
    ({"watchNamespaces": "team-a"}, "watchNamespaces"),
    ({"watchNamespaces": ["Team_A"]}, "watchNamespaces"),
    ({"watchNamespaces": ["a", "a"]}, "watchNamespaces"),
    ({"targetTypes": ["kubernetes.io/service-account-token"]}, "targetTypes"),
    ({"targetTypes": ["bootstrap.kubernetes.io/token"]}, "targetTypes"),
    ({"targetTypes": ["x'] || true || object.type in ['"]}, "targetTypes"),
    ({"tenantStores": {"enabled": True}}, "tenantStores"),
    ({"tenantStores": {"enabled": True, "allowedHosts": ["https://vault.example.com"]}}, "allowedHosts"),
    ({"tenantStores": {"serviceAccountTokens": True}}, "tenantStores"),
    ({"rollout": {"enabled": "true"}}, "rollout"),
    ({"log": {"format": "xml"}}, "format"),
    ({"orgPolicy": {"label": "not a label"}}, "label"),
    ({"orgPolicy": {"label": "x'] == '' || true || object.metadata.labels['"}}, "label"),
    ({"orgPolicy": {"exempt": ["kube-system"]}}, "exempt"),
    ({"rbac": {"aggregateToView": None, "scoped": True}}, "scoped"),
    ({"serviceAccount": {"annotations": {"a": 1}}}, "annotations"),
    ({"metrics": {"listen": {"port": 70000}}}, "port"),
    ({"health": {"listen": {"address": "::"}}}, "address"),
    ({"hooks": {"secret": "Not_A_Name"}}, "secret"),
    ({"hooks": {"listen": {"port": "9403"}}}, "port"),
    ({"hooks": {"enabled": True, "key": "a key in the values"}}, "key"),
    ({"serviceMonitor": {"interval": "30"}}, "interval"),
    ({"networkPolicy": {"egress": {"ports": []}}}, "egress"),
    ({"podDisruptionBudget": {"minAvailable": "half"}}, "minAvailable"),
    ({"livenessProbe": {"httpGet": {"path": "/"}}}, "httpGet"),
    ({"podLabels": {"app.kubernetes.io/name": "other"}}, "podLabels"),
    ({"commonLabels": {"a": "b c"}}, "commonLabels"),
    ({"dnsPolicy": "Cluster"}, "dnsPolicy"),
    ({"hostUsers": "no"}, "hostUsers"),
    ({"extraArgs": "--x"}, "extraArgs"),
    ({"extraEnv": {"A": "b"}}, "extraEnv"),
    ({"extraObjects": ["kind: ConfigMap"]}, "extraObjects"),
]
for values, field in BAD:
    code, _, err = helm(CHART, values)
    check(code != 0 and field in err, f"refused, naming {field}: {values}: {code} {err[-300:]}")
GOOD = [{"global": {"anything": 1}}, {"installCRDs": None}, {"podDisruptionBudget": {"maxUnavailable": 1}}, {"log": {"level": "debug"}},
        {"orgPolicy": {"label": "tenant"}}, {"strategy": {"type": "Recreate"}}, {"hostUsers": False}, {"replicaCount": 0}]
for values in GOOD:
    code, _, err = helm(CHART, values)
    check(code == 0, f"accepted: {values}: {err[-300:]}")

# ---- CRDs: the chart's are the generated ones; nothing in them is taken for a template or rounded
def specs(pattern):
    return {d["metadata"]["name"]: d["spec"] for f in glob.glob(pattern) for d in yaml.safe_load_all(open(f)) if d}


def text(pattern):
    return {os.path.basename(f): open(f).read() for f in glob.glob(pattern)}


mine = specs(os.path.join(CHART, "files", "crds", "*.yaml"))
if os.path.isdir(os.path.join(ROOT, "crds")):
    check(text(os.path.join(CHART, "files", "crds", "*.yaml")) == text(os.path.join(ROOT, "crds", "*.yaml")), "charts/secretref/files/crds is a copy of crds")
    check(set(mine) == {f"{n}.{GROUP}" for n in ("secretreferences", "secretstores", "clustersecretstores")}, f"the CRDs: {sorted(mine)}")
check({d["metadata"]["name"]: d["spec"] for d in kinds(render(), "CustomResourceDefinition")} == mine, "the CRDs are rendered as they are")
for off in ({"crds": {"enabled": False}}, {"installCRDs": False}):
    check(not kinds(render(off), "CustomResourceDefinition"), f"no CRDs with {off}")
check(len(kinds(render({"installCRDs": True, "crds": {"enabled": False}}), "CustomResourceDefinition")) == len(mine), "installCRDs wins")
with tempfile.TemporaryDirectory() as tmp:
    copied = shutil.copytree(CHART, os.path.join(tmp, "secretref"))
    shutil.copy(os.path.join(HERE, "fixture", "widgets.yaml"), os.path.join(copied, "files", "crds"))
    docs = render(None, copied)
    general(docs, "fixture")
    crd = one(docs, "CustomResourceDefinition", "widgets.chart-test.secretref.dev")
    check(crd["spec"] == specs(os.path.join(HERE, "fixture", "*.yaml"))[crd["metadata"]["name"]], "a CRD's text is passed on as it is")
    check(crd["metadata"]["annotations"] == {"example.com/kept": "yes", "helm.sh/resource-policy": "keep"}, "a CRD keeps its own annotations")
    for name, values, chart in (("fixture", {}, copied), ("default", {}, CHART), ("namespaced", load("namespaced.yaml"), CHART),
                                ("everything", everything, CHART), ("crds", {**everything, "installCRDs": True}, CHART)):
        with open(os.path.join(OUT, name + ".yaml"), "w") as f:
            f.write(helm(chart, values)[1])

print(f"chart: {checks - len(failures)} of {checks} checks passed")
sys.exit(1 if failures else 0)
