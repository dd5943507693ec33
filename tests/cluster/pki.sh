#!/usr/bin/env bash
# pki.sh STATE_DIR  - makes (only what is missing) CA, certs, keys and kubeconfigs.
# env: APISERVER_PORT NODE_GW SVC_IP NODES NODE_IP_PREFIX
set -euo pipefail
S=$1; P=$S/pki; K=$S/kubeconfig; mkdir -p "$P" "$K"; chmod 700 "$P" "$K"
DAYS=3650
q() { openssl "$@" >/dev/null 2>&1 || { echo "openssl $* failed" >&2; exit 1; }; }
ca() { # name cn
  [ -s "$P/$1.crt" ] && return 0
  q req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$P/$1.key" -out "$P/$1.crt" -days $DAYS -subj "/CN=$2" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign
}
crt() { # name ca subject eku [san]
  [ -s "$P/$1.crt" ] && return 0
  local ext; ext=$(mktemp)
  { echo "basicConstraints=critical,CA:FALSE"; echo "keyUsage=critical,digitalSignature,keyEncipherment"; echo "extendedKeyUsage=$4"
    [ -n "${5:-}" ] && echo "subjectAltName=$5"; } > "$ext"
  q req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$P/$1.key" -out "$P/$1.csr" -subj "$3"
  q x509 -req -in "$P/$1.csr" -CA "$P/$2.crt" -CAkey "$P/$2.key" -set_serial "0x$(openssl rand -hex 12)" -days $DAYS -extfile "$ext" -out "$P/$1.crt"
  rm -f "$ext" "$P/$1.csr"
}
kc() { # file cert server
  [ -s "$K/$1" ] && return 0
  cat > "$K/$1.tmp" <<Y
apiVersion: v1
kind: Config
clusters: [{name: secretref, cluster: {server: "$3", certificate-authority-data: $(base64 -w0 < "$P/ca.crt")}}]
users: [{name: u, user: {client-certificate-data: $(base64 -w0 < "$P/$2.crt"), client-key-data: $(base64 -w0 < "$P/$2.key")}}]
contexts: [{name: secretref, context: {cluster: secretref, user: u}}]
current-context: secretref
Y
  chmod 600 "$K/$1.tmp"; mv "$K/$1.tmp" "$K/$1"
}
ca ca kubernetes-ca
ca front-proxy-ca front-proxy-ca
if [ ! -s "$P/sa.pub" ]; then q genrsa -out "$P/sa.key" 2048; q rsa -in "$P/sa.key" -pubout -out "$P/sa.pub"; fi
crt etcd ca /CN=etcd serverAuth,clientAuth DNS:localhost,IP:127.0.0.1
crt apiserver-etcd-client ca /CN=kube-apiserver-etcd-client clientAuth
crt apiserver ca /CN=kube-apiserver serverAuth "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:$SVC_IP,IP:$NODE_GW"
crt apiserver-kubelet-client ca /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
crt front-proxy-client front-proxy-ca /CN=front-proxy-client clientAuth
crt admin ca /O=system:masters/CN=kubernetes-admin clientAuth
crt controller-manager ca /CN=system:kube-controller-manager clientAuth
crt scheduler ca /CN=system:kube-scheduler clientAuth
crt proxy ca /CN=system:kube-proxy clientAuth
L=https://127.0.0.1:$APISERVER_PORT; G=https://$NODE_GW:$APISERVER_PORT
kc admin.conf admin "$L"
kc controller-manager.conf controller-manager "$L"
kc scheduler.conf scheduler "$L"
kc proxy.conf proxy "$G"
for ((i = 1; i <= NODES; i++)); do
  ip=$NODE_IP_PREFIX.$((10 + i))
  crt "node$i" ca "/O=system:nodes/CN=system:node:node$i" serverAuth,clientAuth "DNS:node$i,IP:$ip,IP:127.0.0.1"
  kc "node$i.conf" "node$i" "$G"
done
