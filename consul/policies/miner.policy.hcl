# What a miner agent may do in Consul: a horde's placement, sessions, its own service; nothing else. Miners of several hordes of
# one set-up have the policies of all of them.
# {{ horde }} is the horde's name. Without "list" below the prefix Consul would hide keys instead of refusing.

# The picture of the horde; wishes of the operator (uids/, pool/) are only read.
key_prefix "horde/{{ horde }}/" {
  policy = "list"
}

key_prefix "horde/{{ horde }}/slots/" {
  policy = "write"
}

key_prefix "horde/{{ horde }}/members/" {
  policy = "write"
}

key_prefix "horde/{{ horde }}/roles/" {
  policy = "write"
}

# The keeper says there what it has of each class.
key_prefix "horde/{{ horde }}/reports/" {
  policy = "write"
}

# The operator writes it, the choreographer removes it when the dance is done.
key "horde/{{ horde }}/dance" {
  policy = "write"
}

key "horde/{{ horde }}/last_dance" {
  policy = "write"
}

key "horde/{{ horde }}/main_hotkey" {
  policy = "write"
}

# Each transaction of moves leaves a record, which is never changed.
key_prefix "horde-history/{{ horde }}/" {
  policy = "write"
}

# Sessions belong to the node of whichever Consul agent answers.
session_prefix "" {
  policy = "write"
}

service "horde-miner" {
  policy = "write"
}

# The catalogue shows a service only to those who may see its node.
node_prefix "" {
  policy = "read"
}
