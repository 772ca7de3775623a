# What the collector of metrics on a machine may do in Consul: find agents there, and read Consul's own metrics.

agent_prefix "" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}

service_prefix "" {
  policy = "read"
}
