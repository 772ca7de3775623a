image     = "registry.example/horde/agents@sha256:0000000000000000000000000000000000000000000000000000000000000000"
version   = "0.1.0"
netuid    = 12
chain_url = "wss://entrypoint-finney.opentensor.ai:443"
settings = {
  token_life_s = "7200"
}
