# What a server that backs Nomad up may do there: take snapshots, and nothing else. Restoring one takes the management token.

operator {
  capabilities = ["snapshot-save"]
}
