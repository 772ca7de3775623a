# What a miner agent may do in Nomad: the holders' jobs, and see the gpu nodes; nothing else.
# {{ namespace }} is the namespace of the holders. Give it one of its own: submit-job covers every job in it.

namespace "{{ namespace }}" {
  # submit-job also ends jobs
  capabilities = ["list-jobs", "read-job", "parse-job", "submit-job", "dispatch-job"]
}

node {
  policy = "read"
}
