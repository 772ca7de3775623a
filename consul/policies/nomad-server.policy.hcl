# What a Nomad server may do in Consul: find the other servers, be found, and make tokens for nobody.

agent_prefix "" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}

service_prefix "" {
  policy = "read"
}

service "nomad" {
  policy = "write"
}
