#!/usr/bin/env bash
# test.sh - makes each alert of the chart fire, and be silent when all is well, by promtool: alerts.test.yaml
set -euo pipefail
cd "$(dirname "$0")/../.."
HELM=$(tests/tools/helm.sh); PROMTOOL=$(tests/tools/promtool.sh)
PYTHONPATH=$(tests/tools/pyyaml.sh)${PYTHONPATH:+:$PYTHONPATH}; export PYTHONPATH
W=$(mktemp -d); trap 'rm -rf "$W"' EXIT
"$HELM" template secretref charts/secretref -n secretref --kube-version 1.35.4 --set metrics.prometheusRule.enabled=true \
  -s templates/prometheusrule.yaml > "$W/object.yaml"
python3 - "$W" <<'PY'
import sys, yaml
w = sys.argv[1]
rules = yaml.safe_load(open(f"{w}/object.yaml"))["spec"]
yaml.safe_dump(rules, open(f"{w}/rules.yaml", "w"))
cases = [c for t in yaml.safe_load(open("tests/alerts/alerts.test.yaml"))["tests"] for c in t["alert_rule_test"]]
for name in (r["alert"] for g in rules["groups"] for r in g["rules"]):
    fires = {bool(c["exp_alerts"]) for c in cases if c["alertname"] == name}
    assert fires == {True, False}, f"{name} is not made to fire and to be silent in alerts.test.yaml"
PY
cp tests/alerts/alerts.test.yaml "$W/"
"$PROMTOOL" check rules "$W/rules.yaml" > "$W/log" 2>&1 || { cat "$W/log"; exit 1; }
"$PROMTOOL" test rules "$W/alerts.test.yaml" > "$W/log" 2>&1 || { cat "$W/log"; exit 1; }
echo "alerts: each fires, and each is silent"
