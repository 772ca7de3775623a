image            = "registry.example/horde/agents@sha256:0000000000000000000000000000000000000000000000000000000000000000"
version          = "0.1.0"
chain_url        = "wss://entrypoint-finney.opentensor.ai:443"
facilitator_urls = ["wss://facilitator.example/ws/v0/"]
