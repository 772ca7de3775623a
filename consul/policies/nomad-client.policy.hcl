# What a Nomad client may do in Consul: find the servers, and register and remove the services of jobs, whose names
# nobody knows beforehand. With less, services of stopped jobs would stay.

agent_prefix "" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}

service_prefix "" {
  policy = "write"
}
