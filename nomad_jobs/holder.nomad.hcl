# A holder keeps one slot of a gpu node and forks an executor for every job. One Nomad job per executor class;
# the keeper registers it from the class catalogue and dispatches as many as the class shall have.
# Nomad chooses node and devices; the holder reports which it got.

variable "name" {
  type        = string
  description = "Name of the Nomad job: holder- and the class's short code."
  validation {
    # HCL here has no match: what is wholly replaced did match, and "=" keeps the empty text from it
    condition     = regex_replace("=${var.name}", "^=holder-[a-z0-9][a-z0-9._-]*$", "") == ""
    error_message = "The name must be holder- and the short code of a class."
  }
}

variable "executor_class" {
  type        = string
  description = "The executor class, as the catalogue names it."
  validation {
    condition     = regex_replace("=${var.executor_class}", "^=[a-z0-9][a-z0-9._-]{0,79}$", "") == ""
    error_message = "A class's name is lower-case letters, digits, dots, dashes and underscores."
  }
}

variable "short_code" {
  type        = string
  description = "The class's short code; part of the slot ids of a class without GPUs."
  validation {
    condition     = regex_replace("=${var.short_code}", "^=[a-z0-9][a-z0-9._-]{0,79}$", "") == ""
    error_message = "A short code is lower-case letters, digits, dots, dashes and underscores."
  }
}

variable "gpus" {
  type        = number
  description = "Devices of one holder; 0 for a class without."
  default     = 0
  validation {
    condition     = var.gpus >= 0 && var.gpus <= 16 && floor(var.gpus) == var.gpus
    error_message = "A holder has 0 to 16 GPUs."
  }
}

variable "model" {
  type        = string
  description = "Regular expression on the model that a device reports; empty for any."
  default     = ""
}

variable "memory_mib" {
  type        = number
  description = "Memory that each device reports at least, in MiB."
  default     = 0
  validation {
    condition     = var.memory_mib >= 0
    error_message = "The memory of a device is not negative."
  }
}

variable "spin_up_s" {
  type        = number
  description = "Seconds within which an executor of the class has to be ready."
  default     = 30
  validation {
    condition     = var.spin_up_s > 0
    error_message = "The spin-up time is positive."
  }
}

variable "node_pool" {
  type        = string
  description = "Node pool of the gpu nodes; nothing else may run in it."
  default     = "horde-gpu"
}

variable "oldest_nomad" {
  type        = string
  description = "Oldest Nomad client that may run it."
  default     = "1.11.3"
}

variable "user" {
  type        = string
  description = "User on the gpu node; it needs the right to use Docker."
  default     = "horde"
}

variable "command" {
  type        = string
  description = "Python of the environment that is installed on the gpu nodes."
  default     = "/opt/horde/bin/python"
}

variable "work_dir" {
  type        = string
  description = "Directory for job data on the gpu node; the user must own it."
  default     = "/var/lib/horde/slots"
}

variable "settings" {
  type        = map(string)
  description = "More HORDE_EXECUTOR_* settings, such as the limits of a job's container; no secrets."
  default     = {}
  validation {
    condition     = !contains(keys(var.settings), "HORDE_EXECUTOR_TOKEN")
    error_message = "A job can be read by everybody who can read jobs: a holder's token is its allocation's identity."
  }
}

variable "recycle_jobs" {
  type        = number
  description = "Jobs after which a holder ends and a fresh one follows."
  default     = 500
}

variable "recycle_s" {
  type        = number
  description = "Seconds after which an idle holder ends and a fresh one follows."
  default     = 86400
}

variable "lonely_s" {
  type        = number
  description = "Seconds without an answer of any miner after which an idle holder ends; the keeper's next one knows where miners are now."
  default     = 120
}

variable "lost_after" {
  type        = string
  description = "How long a holder whose node is disconnected may come back; longer than any job."
  default     = "24h"
}

variable "kill_timeout" {
  type        = string
  description = "Time a holder gets to end a running job after SIGTERM; the client's max_kill_timeout bounds it."
  default     = "120s"
}

variable "priority" {
  type        = number
  description = "Nomad priority; the agents' jobs have more."
  default     = 40
  validation {
    condition     = var.priority >= 1 && var.priority <= 79
    error_message = "A holder's priority is 1 to 79: below that of the agents."
  }
}

variable "cpu_mhz" {
  type        = number
  description = "Scheduling share of the holder itself; its jobs run in Docker, beside Nomad's accounts."
  default     = 100
}

variable "holder_memory_mb" {
  type        = number
  description = "Memory of the holder and its executor, in MiB."
  default     = 256
}

job "holder" {
  id        = var.name
  name      = var.name
  type      = "batch"
  node_pool = var.node_pool
  priority  = var.priority

  # with a dispatch's meta (horde, miners, index, generation) this tells who only knows Nomad what it is
  meta {
    executor_class = var.executor_class
    gpus           = "${var.gpus}"
  }

  ui {
    description = "Each dispatch keeps one slot of the executor class ${var.executor_class} for the miners of a horde."
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

  # `miners` are addresses, no secrets: a holder proves what it is by its allocation's identity
  parameterized {
    payload       = "forbidden"
    meta_required = ["horde", "miners", "index", "generation"]
    meta_optional = ["attempt"]
  }

  group "holder" {
    # no max_run_duration: it knows no "never", and the parser of Nomad before 2.0.3 refuses it. The executor's own limits
    # are the backstop; who registers the job with a newer Nomad may set MaxRunDuration in what the parser returned

    # one dispatch is one holder: the keeper decides what replaces it
    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    # without this a lost node's holder would be started a second time, and its job with it
    disconnect {
      lost_after = var.lost_after
      replace    = false
      reconcile  = "keep_original"
    }

    # job data is in work_dir; this is for logs
    ephemeral_disk {
      size = 100
    }

    task "holder" {
      driver       = "raw_exec"
      user         = var.user
      kill_signal  = "SIGTERM"
      kill_timeout = var.kill_timeout

      config {
        command = var.command
        args    = ["-m", "horde_agents.agents.executor"]
      }

      env = merge({
        HORDE_EXECUTOR_EXECUTOR_CLASS = var.executor_class
        HORDE_EXECUTOR_SHORT_CODE     = var.short_code
        HORDE_EXECUTOR_NODE_NAME      = "${node.unique.name}"
        HORDE_EXECUTOR_TOKEN_FILE     = "${NOMAD_SECRETS_DIR}/nomad_horde.jwt"
        HORDE_EXECUTOR_WORK_DIR       = var.work_dir
        HORDE_EXECUTOR_SPIN_UP_S      = "${var.spin_up_s}"
        HORDE_EXECUTOR_RECYCLE_JOBS   = "${var.recycle_jobs}"
        HORDE_EXECUTOR_RECYCLE_S      = "${var.recycle_s}"
        HORDE_EXECUTOR_LONELY_S       = "${var.lonely_s}"
      }, var.settings)

      # the token: Nomad signs it over the allocation and renews it while that lives
      identity {
        name        = "horde"
        aud         = ["horde"]
        file        = true
        ttl         = "1h"
        change_mode = "noop"
      }

      resources {
        cpu    = var.cpu_mhz
        memory = var.holder_memory_mb

        dynamic "device" {
          for_each = var.gpus > 0 ? [var.gpus] : []
          iterator = gpus # the default name would hide ${device.…} below
          labels   = ["nvidia/gpu"]
          content {
            count = gpus.value

            constraint {
              attribute = "${device.attr.memory}"
              operator  = ">="
              value     = "${var.memory_mib} MiB"
            }

            constraint {
              attribute = "${device.model}"
              operator  = "regexp"
              value     = var.model == "" ? "." : var.model
            }
          }
        }
      }

      logs {
        max_files     = 3
        max_file_size = 10
      }
    }
  }
}
