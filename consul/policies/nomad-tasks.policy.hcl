# What a task of a Nomad job may do in Consul when nothing more is bound to it: find services.

node_prefix "" {
  policy = "read"
}

service_prefix "" {
  policy = "read"
}
