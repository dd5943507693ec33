# OpenBao on one node, kept by Raft storage. entrypoint.sh fills in the @NAMES@ and adds the seal, and at the first start
# what self-initialisation makes. No secret is written here: a key or password is named by the file that holds it.
ui = false

listener "tcp" {
  address         = "@LISTEN@"
  cluster_address = "127.0.0.1:@CLUSTER_PORT@"
  tls_cert_file   = "@TLS_CERT_FILE@"
  tls_key_file    = "@TLS_KEY_FILE@"
  tls_min_version = "tls12"
}

api_addr     = "@PUBLIC_ADDR@"
cluster_addr = "https://127.0.0.1:@CLUSTER_PORT@"

storage "raft" {
  path                   = "@DATA_DIR@/raft"
  node_id                = "n1"
  performance_multiplier = 1
}

# Every request and answer; values are keyed hashes.
audit "file" "log" {
  options {
    file_path = "@AUDIT_FILE@"
    mode      = "0600"
  }
}
