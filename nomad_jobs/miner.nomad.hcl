# A miner: one agent, one job, per UID. Validators reach it at its public port, holders at its executors' port.
# Its secrets, hotkey (the unencrypted hotkey file's text) and database_url, are items of the Nomad variable `nomad/jobs/miner-<uid>`.

variable "uid" {
  type        = number
  description = "The UID on the subnet; the Nomad job is miner- and this."
  validation {
    condition     = var.uid >= 0 && var.uid <= 65535 && floor(var.uid) == var.uid
    error_message = "A UID is a whole number from 0 to 65535."
  }
}

variable "horde" {
  type        = string
  description = "Name of the horde: all miners of one coldkey that share slots have the same."
  default     = "horde"
  validation {
    # HCL here has no match: what is wholly replaced did match, and "=" keeps the empty text from it
    condition     = regex_replace("=${var.horde}", "^=[a-z0-9][a-z0-9-]{0,39}$", "") == ""
    error_message = "A horde's name is up to 40 lower-case letters, digits and dashes."
  }
}

variable "image" {
  type        = string
  description = "The agents' image by digest; a tag could become another image tomorrow."
  validation {
    condition     = regex_replace("=${var.image}", "^=[a-z0-9][a-z0-9._:/-]*@sha256:[0-9a-f]{64}$", "") == ""
    error_message = "The image must be named by digest: registry/name@sha256: and 64 hexadecimal digits."
  }
}

variable "version" {
  type        = string
  description = "Version of the image, for those who read Consul or Nomad."
  default     = "unknown"
}

variable "namespace" {
  type        = string
  description = "Nomad namespace of the job and of the variable with its secrets."
  default     = "default"
}

variable "node_pool" {
  type        = string
  description = "Node pool of the machines for agents; never that of the gpu nodes."
  default     = "default"
  validation {
    condition     = var.node_pool != "horde-gpu" && var.node_pool != "all"
    error_message = "Agents hold keys and must not run on gpu nodes: name a node pool of their own."
  }
}

variable "machines" {
  type        = list(string)
  description = "Names of the machines, as Nomad has them, on which it may run; empty for all of the node pool."
  default     = []
  validation {
    condition     = length([for name in var.machines : name if name == "" || replace(name, ",", "") != name]) == 0
    error_message = "A machine's name is not empty and has no comma."
  }
}

variable "node_ids" {
  type        = list(string)
  description = "IDs of Nomad's nodes on which it may run; a machine can claim another's name, and not its ID. Empty for all."
  default     = []
  validation {
    condition     = length([for id in var.node_ids : id if regex_replace("=${id}", "^=[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", "") != ""]) == 0
    error_message = "A node's ID is a UUID in full."
  }
}

variable "oldest_nomad" {
  type        = string
  description = "Oldest Nomad client that may run it; 2.0.4 closes CVE-2026-14891 and CVE-2026-14896."
  default     = "1.11.3"
}

variable "kept_by" {
  type        = string
  description = "Who keeps this job and may stop it; Ansible's role agents writes its own name. Empty for nobody."
  default     = ""
}

variable "priority" {
  type        = number
  description = "Nomad priority; holders have 40."
  default     = 80
  validation {
    condition     = var.priority > 40 && var.priority <= 100
    error_message = "An agent's priority is 41 to 100: above that of the holders."
  }
}

variable "user" {
  type        = string
  description = "User in the image and on the node, under one name and number; never root. Where the node has none of that name, Nomad leaves identity files readable for everybody."
  default     = "horde"
  validation {
    condition     = var.user != "root" && regex_replace("=${var.user}", "^=[a-z_][a-z0-9_-]*$", "") == ""
    error_message = "The user must be a name, not a number, and not root."
  }
}

variable "user_id" {
  type        = number
  description = "That user's number; it owns the files of secrets."
  default     = 10001
  validation {
    condition     = var.user_id >= 1 && floor(var.user_id) == var.user_id
    error_message = "The user's number is whole and not root's."
  }
}

variable "port" {
  type        = number
  description = "Port of the public listener, the axon; miners on one machine need one each. 0 for one that Nomad chooses."
  default     = 8000
  validation {
    condition     = var.port >= 0 && var.port <= 65535
    error_message = "A port is 0 to 65535."
  }
}

variable "network" {
  type        = string
  description = "Nomad host network of the public listener; default is the node's main address."
  default     = "default"
}

variable "executor_port" {
  type        = number
  description = "Port of the executors' listener (TLS). Holders remember it, so Nomad does not choose it; miners on one machine need one each."
  default     = 8443
  validation {
    condition     = var.executor_port >= 1 && var.executor_port <= 65535
    error_message = "A port for executors is 1 to 65535."
  }
}

variable "executor_network" {
  type        = string
  description = "Nomad host network of the executors' listener: the one that gpu nodes reach."
  default     = "default"
}

variable "executor_advertise" {
  type        = string
  description = "Address under which gpu nodes reach the executors' listener; empty for the listener's own."
  default     = ""
}

variable "operator_port" {
  type        = number
  description = "Port of /healthz, /readyz and /metrics; 0 for one that Nomad chooses."
  default     = 0
  validation {
    condition     = var.operator_port >= 0 && var.operator_port <= 65535
    error_message = "A port is 0 to 65535."
  }
}

variable "operator_network" {
  type        = string
  description = "Nomad host network of the operators' listener, apart from the public one; clients must have it."
  default     = "loopback"
}

variable "consul_acl" {
  type        = bool
  description = "Log in to Consul by workload identity (nomad setup consul); false only where Consul has no ACLs."
  default     = true
}

variable "netuid" {
  type        = number
  description = "The subnet."
  default     = 12
}

variable "chain_url" {
  type        = string
  description = "Subtensor endpoint; empty for none."
  default     = ""
}

variable "axon_ip" {
  type        = string
  description = "Public IP to serve on the chain; empty to serve no axon."
  default     = ""
}

variable "axon_port" {
  type        = number
  description = "Public port to serve on the chain; 0 for the public listener's."
  default     = 0
  validation {
    condition     = var.axon_port >= 0 && var.axon_port <= 65535
    error_message = "A port is 0 to 65535."
  }
}

variable "consul_urls" {
  type        = list(string)
  description = "Consul's addresses, to keep placement there; tried in order."
  default     = []
}

variable "nomad_urls" {
  type        = list(string)
  description = "Nomad's addresses, to keep holders there; tried in order."
  default     = []
}

variable "data_volume" {
  type        = string
  description = "Nomad host volume for certificates, owned by the user; empty for the allocation's own disk, which moves with it."
  default     = ""
}

variable "wait_for_ready" {
  type        = bool
  description = "An update counts as good only when the miner is ready, which takes an executor that is connected."
  default     = true
}

variable "settings" {
  type        = map(string)
  description = "More settings by name, as the settings page has them; no secrets."
  default     = {}
  validation {
    condition     = length([for name in keys(var.settings) : name if regex_replace(lower(name), "(password|secret|token|seed|mnemonic|database_url)$", "") != lower(name)]) == 0
    error_message = "Settings of a job can be read by everybody who can read jobs: put secrets into the Nomad variable."
  }
}

variable "classes" {
  type        = string
  description = "Text of a class file: executor classes besides those that come with Horde."
  default     = ""
}

variable "secret_files" {
  type        = list(string)
  description = "Further items of the Nomad variable, each a file of its name in /secrets, such as certificates."
  default     = []
  validation {
    condition     = length([for name in var.secret_files : name if regex_replace("=${name}", "^=[a-z][a-z0-9_]*$", "") != ""]) == 0
    error_message = "An item's name is lower-case letters, digits and underscores."
  }
}

variable "drain_s" {
  type        = number
  description = "Seconds that running jobs get after SIGTERM; the client's max_kill_timeout must be 15 s more."
  default     = 60
  validation {
    condition     = var.drain_s > 0 && var.drain_s <= 3600
    error_message = "The drain time is 1 to 3600 seconds."
  }
}

variable "stop_alone_after" {
  type        = string
  description = "How long it goes on while its node is cut off from Nomad's servers; they start another when that is over."
  default     = "5m"
}

variable "cpu_mhz" {
  type        = number
  description = "Scheduling share, in MHz."
  default     = 500
}

variable "memory_mb" {
  type        = number
  description = "Memory, in MiB."
  default     = 512
}

job "miner" {
  id        = "miner-${var.uid}"
  name      = "miner-${var.uid}"
  namespace = var.namespace
  type      = "service"
  node_pool = var.node_pool
  priority  = var.priority

  meta {
    agent   = "miner"
    horde   = var.horde
    kept_by = var.kept_by
    uid     = "${var.uid}"
    version = var.version
  }

  ui {
    description = "The miner of UID ${var.uid} in the horde ${var.horde}: takes validators' jobs and gives them to executors."
  }

  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  constraint {
    attribute = "${attr.nomad.version}"
    operator  = "semver"
    value     = ">= ${var.oldest_nomad}"
  }

  dynamic "constraint" {
    for_each = length(var.machines) == 0 ? [] : [join(",", var.machines)]
    content {
      attribute = "${node.unique.name}"
      operator  = "set_contains_any"
      value     = constraint.value
    }
  }

  dynamic "constraint" {
    for_each = length(var.node_ids) == 0 ? [] : [join(",", var.node_ids)]
    content {
      attribute = "${node.unique.id}"
      operator  = "set_contains_any"
      value     = constraint.value
    }
  }

  update {
    max_parallel      = 1
    health_check      = "checks"
    min_healthy_time  = "10s"
    healthy_deadline  = "3m"
    progress_deadline = "0" # fail, and go back, with the first allocation that is unhealthy, not after more of them
    auto_revert       = true
  }

  group "miner" {
    count = 1

    restart {
      attempts = 5
      interval = "10m"
      delay    = "5s"
      mode     = "fail"
    }

    reschedule {
      unlimited      = true
      delay          = "15s"
      delay_function = "exponential"
      max_delay      = "2m"
    }

    disconnect {
      stop_on_client_after = var.stop_alone_after
      replace              = true
      reconcile            = "best_score"
    }

    ephemeral_disk {
      size    = 500
      sticky  = true
      migrate = true
    }

    dynamic "volume" {
      for_each = var.data_volume == "" ? [] : [var.data_volume]
      labels   = ["data"]
      iterator = data
      content {
        type            = "host"
        source          = data.value
        access_mode     = "single-node-single-writer"
        attachment_mode = "file-system"
      }
    }

    network {
      mode = "host"

      port "public" {
        static       = var.port
        host_network = var.network
      }

      port "executors" {
        static       = var.executor_port
        host_network = var.executor_network
      }

      port "operator" {
        static       = var.operator_port
        host_network = var.operator_network
      }
    }

    service {
      name     = "horde-miner"
      provider = "consul"
      port     = "public"
      tags     = ["horde"]

      meta {
        horde          = var.horde
        uid            = "${var.uid}"
        nomad_job      = "miner-${var.uid}"
        version        = var.version
        executors_addr = "${NOMAD_ADDR_executors}"
        operator_addr  = "${NOMAD_ADDR_operator}"
      }

      dynamic "identity" {
        for_each = var.consul_acl ? [1] : []
        content {
          aud = ["consul.io"]
          ttl = "1h"
        }
      }

      check {
        name     = "alive"
        type     = "http"
        port     = "operator"
        path     = "/healthz"
        interval = "10s"
        timeout  = "2s"

        check_restart {
          limit = 6
          grace = "60s"
        }
      }

      check {
        name      = "ready"
        type      = "http"
        port      = "operator"
        path      = "/readyz"
        interval  = "10s"
        timeout   = "5s"
        on_update = var.wait_for_ready ? "require_healthy" : "ignore"
      }
    }

    task "miner" {
      driver = "docker"
      user   = var.user
      # no kill_signal: Docker's stop sends SIGTERM, too, and is content with a container that a reboot has ended, for which
      # Nomad 1.11's signal fails for ever while the allocation keeps its ports
      kill_timeout   = "${var.drain_s + 15}s"
      shutdown_delay = "2s" # Consul forgets it first

      config {
        image              = var.image
        image_pull_timeout = "10m"
        entrypoint         = ["horde"]
        args               = ["miner", "serve", "--config", "/secrets/miner.toml"]
        network_mode       = "host"
        init               = true
        privileged         = false
        cap_drop           = ["all"]
        security_opt       = ["no-new-privileges"]
        readonly_rootfs    = true
        pids_limit         = 512

        mount {
          type     = "tmpfs"
          target   = "/tmp"
          readonly = false
          tmpfs_options {
            size = 67108864
            mode = 1023 # 1777 in octal
          }
        }
      }

      env = merge(
        {
          HOME                      = "/tmp"
          HORDE_MINER_HORDE         = var.horde
          HORDE_MINER_HOTKEY_FILE   = "/secrets/hotkey"
          HORDE_MINER_DATA_DIR      = var.data_volume == "" ? "/alloc/data/miner" : "/var/lib/horde/miner"
          HORDE_MINER_EXECUTOR_HOST = "${NOMAD_IP_executors}"
          HORDE_MINER_EXECUTOR_PORT = "${NOMAD_PORT_executors}"
          HORDE_MINER_DRAIN_S       = "${var.drain_s}"
          PYTHONDONTWRITEBYTECODE   = "1"
          HORDE_MINER_HOST          = "${NOMAD_IP_public}"
          HORDE_MINER_PORT          = "${NOMAD_PORT_public}"
          HORDE_MINER_OPERATOR_HOST = "${NOMAD_IP_operator}"
          HORDE_MINER_OPERATOR_PORT = "${NOMAD_PORT_operator}"
          HORDE_MINER_NETUID        = "${var.netuid}"
        },
        var.executor_advertise == "" ? {} : { HORDE_MINER_EXECUTOR_ADVERTISE = var.executor_advertise },
        var.axon_ip == "" ? {} : { HORDE_MINER_AXON_IP = var.axon_ip },
        var.axon_port == 0 ? {} : { HORDE_MINER_AXON_PORT = "${var.axon_port}" },
        length(var.consul_urls) == 0 ? {} : { HORDE_MINER_CONSUL_URLS = jsonencode(var.consul_urls) },
        length(var.consul_urls) > 0 && var.consul_acl ? { HORDE_MINER_CONSUL_TOKEN_FILE = "/secrets/consul.token" } : {},
        length(var.nomad_urls) == 0 ? {} : {
          HORDE_MINER_NOMAD_URLS       = jsonencode(var.nomad_urls)
          HORDE_MINER_NOMAD_TOKEN_FILE = "/secrets/nomad_token"
        },
        var.chain_url == "" ? {} : { HORDE_MINER_CHAIN_URL = var.chain_url },
        var.classes == "" ? {} : { HORDE_MINER_CLASS_FILE = "/local/classes.toml" },
        { for name, value in var.settings : "HORDE_MINER_${upper(name)}" => value },
      )

      # the token for Nomad, secrets/nomad_token: what it may do is the ACL policy of this job
      identity {
        env         = false
        file        = true
        change_mode = "noop"
      }

      # the token for Consul: Nomad logs in with this and keeps the token for root, hence the template
      dynamic "identity" {
        for_each = var.consul_acl ? [1] : []
        content {
          name        = "consul_default"
          aud         = ["consul.io"]
          ttl         = "1h"
          change_mode = "noop"
        }
      }

      dynamic "consul" {
        for_each = var.consul_acl ? [1] : []
        content {}
      }

      dynamic "template" {
        for_each = var.consul_acl ? [1] : []
        content {
          destination = "secrets/consul.token"
          perms       = "0400"
          uid         = var.user_id
          change_mode = "noop"
          data        = "{{ env \"CONSUL_HTTP_TOKEN\" }}"
        }
      }

      dynamic "volume_mount" {
        for_each = var.data_volume == "" ? [] : [1]
        content {
          volume      = "data"
          destination = "/var/lib/horde/miner"
        }
      }

      # a file, because Docker shows a container's environment to everybody who may use it
      template {
        destination          = "secrets/miner.toml"
        perms                = "0400"
        uid                  = var.user_id
        change_mode          = "restart"
        splay                = "5s"
        error_on_missing_key = true
        data                 = <<-EOT
          {{ with nomadVar "nomad/jobs/miner-${var.uid}" }}database_url = {{ .database_url.Value | trimSpace | toJSON }}{{ end }}
        EOT
      }

      template {
        destination          = "secrets/hotkey"
        perms                = "0400"
        uid                  = var.user_id
        change_mode          = "restart"
        splay                = "5s"
        error_on_missing_key = true
        data                 = "{{ with nomadVar \"nomad/jobs/miner-${var.uid}\" }}{{ .hotkey }}{{ end }}"
      }

      dynamic "template" {
        for_each = var.secret_files
        iterator = item
        content {
          destination          = "secrets/${item.value}"
          perms                = "0400"
          uid                  = var.user_id
          change_mode          = "restart"
          splay                = "5s"
          error_on_missing_key = true
          data                 = "{{ with nomadVar \"nomad/jobs/miner-${var.uid}\" }}{{ .${item.value} }}{{ end }}"
        }
      }

      dynamic "template" {
        for_each = var.classes == "" ? [] : [var.classes]
        iterator = classes
        content {
          destination     = "local/classes.toml"
          perms           = "0444"
          change_mode     = "restart"
          left_delimiter  = "<<<" # TOML has braces of its own
          right_delimiter = ">>>"
          data            = classes.value
        }
      }

      resources {
        cpu    = var.cpu_mhz
        memory = var.memory_mb
      }

      logs {
        max_files     = 5
        max_file_size = 20
      }
    }
  }
}
