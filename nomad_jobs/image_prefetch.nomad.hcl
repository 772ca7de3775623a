# Pulls images onto every gpu node ahead of the jobs that need them. They go into the Docker daemon that executors use,
# by its own command line: what Nomad's docker driver pulls it also removes again.
# Each node's log has one JSON line per image; the allocation fails when one could not be pulled.

variable "images" {
  type        = list(string)
  description = "Images by digest, in the order in which they are pulled."
  validation {
    # HCL here has no match: what is wholly replaced did match, and "=" keeps the empty text from it
    condition     = length(var.images) > 0 && length([for image in var.images : image if regex_replace("=${image}", "^=[a-z0-9][a-z0-9._:/-]*@sha256:[0-9a-f]{64}$", "") != ""]) == 0
    error_message = "Name at least one image, each by digest: registry/name@sha256: and 64 hexadecimal digits."
  }
}

variable "run" {
  type        = string
  description = "Any text; nodes that are done do it again when it changes."
  default     = ""
}

variable "node_pool" {
  type        = string
  description = "Node pool of the gpu nodes."
  default     = "horde-gpu"
}

variable "oldest_nomad" {
  type        = string
  description = "Oldest Nomad client that may run it."
  default     = "1.11.3"
}

variable "priority" {
  type        = number
  description = "Nomad priority; above the holders' 40, so that a full horde does not hold it up."
  default     = 60
}

variable "user" {
  type        = string
  description = "User on the gpu node; it needs the right to use Docker."
  default     = "horde"
}

variable "docker" {
  type        = string
  description = "Docker's command line on the gpu nodes."
  default     = "/usr/bin/docker"
}

variable "docker_config" {
  type        = string
  description = "Directory on the gpu nodes with the registries' credentials (config.json); empty for none."
  default     = ""
}

job "image-prefetch" {
  type      = "sysbatch"
  node_pool = var.node_pool
  priority  = var.priority

  meta {
    run = var.run
  }

  ui {
    description = "Pulls images onto the gpu nodes ahead of jobs; the log has one JSON line per image."
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

  group "pull" {
    restart {
      attempts = 2
      interval = "1h"
      delay    = "15s"
      mode     = "fail"
    }

    task "pull" {
      driver       = "raw_exec"
      user         = var.user
      kill_timeout = "10s"

      # images are arguments, never part of the script
      config {
        command = "/bin/sh"
        args = concat(["-uc", <<-EOT
          failed=0
          for image; do
            began=$(date +%s)
            if "$DOCKER" pull --quiet "$image" >&2; then ok=true; else ok=false; failed=1; fi
            printf '{"node":"%s","image":"%s","pulled":%s,"seconds":%d}\n' "$NODE" "$image" $ok $(($(date +%s) - began))
          done
          exit $failed
        EOT
        , "pull"], var.images)
      }

      env = merge(
        {
          NODE   = "${node.unique.name}"
          DOCKER = var.docker
          HOME   = "${NOMAD_TASK_DIR}"
        },
        var.docker_config == "" ? {} : { DOCKER_CONFIG = var.docker_config },
      )

      resources {
        cpu    = 100
        memory = 128
      }

      logs {
        max_files     = 2
        max_file_size = 5
      }
    }
  }
}
