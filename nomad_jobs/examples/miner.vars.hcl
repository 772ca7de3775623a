uid            = 7
image          = "registry.example/horde/agents@sha256:0000000000000000000000000000000000000000000000000000000000000000"
version        = "0.1.0"
horde          = "example"
chain_url      = "wss://entrypoint-finney.opentensor.ai:443"
axon_ip        = "203.0.113.5"
consul_urls    = ["https://127.0.0.1:8501"]
data_volume    = "miner-7"
secret_files   = ["consul_ca", "consul_certificate", "consul_key"]
wait_for_ready = true
settings = {
  consul_ca_file          = "/secrets/consul_ca"
  consul_certificate_file = "/secrets/consul_certificate"
  consul_key_file         = "/secrets/consul_key"
}
