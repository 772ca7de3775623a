# What a machine that backs Consul up may do there. Consul gives snapshots to nobody with less, because all tokens are in one; whoever
# has this may make tokens, too. It is in a file of root's alone, on servers, which have all of that anyway.

acl = "write"
