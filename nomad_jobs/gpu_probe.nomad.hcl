# Asks every gpu node what it has. Each node's log has one JSON line: the devices that Nomad gave, and what nvidia-smi says
# of the node. With gpus = 0 it asks for no device and runs beside the holders; else it waits until so many are free.

variable "gpus" {
  type        = number
  description = "Devices to ask for on each node, through the device plugin; 0 for none."
  default     = 0
  validation {
    condition     = var.gpus >= 0 && var.gpus <= 16 && floor(var.gpus) == var.gpus
    error_message = "A node is asked for 0 to 16 GPUs."
  }
}

variable "run" {
  type        = string
  description = "Any text; nodes that have answered answer again when it changes."
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
  description = "Nomad priority; above the holders' 40."
  default     = 60
}

variable "user" {
  type        = string
  description = "User on the gpu node."
  default     = "horde"
}

variable "python" {
  type        = string
  description = "Any Python 3 on the gpu nodes; Ansible has put one there."
  default     = "/usr/bin/python3"
}

variable "nvidia_smi" {
  type        = string
  description = "NVIDIA's nvidia-smi on the gpu nodes; where it is missing, only Nomad's word is reported."
  default     = "/usr/bin/nvidia-smi"
}

job "gpu-probe" {
  type      = "sysbatch"
  node_pool = var.node_pool
  priority  = var.priority

  meta {
    run = var.run
  }

  ui {
    description = "Asks every gpu node what GPUs it has; the log has one JSON line per node."
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

  group "probe" {
    restart {
      attempts = 0
      mode     = "fail"
    }

    task "probe" {
      driver       = "raw_exec"
      user         = var.user
      kill_timeout = "10s"

      config {
        command = var.python
        args = ["-Iuc", <<-EOT
          import json, os, subprocess

          FIELDS = ["uuid", "name", "memory_mib", "driver_version"]
          QUERY = "--query-gpu=uuid,name,memory.total,driver_version"

          def nvidia_smi(*words):
              try:
                  asked = subprocess.run([os.environ["NVIDIA_SMI"], *words], capture_output=True, text=True, timeout=60)
              except (OSError, subprocess.TimeoutExpired) as error:
                  return None, str(error)
              lines = [line.strip() for line in asked.stdout.splitlines() if line.strip()]
              return (lines, None) if asked.returncode == 0 else (None, (asked.stderr or asked.stdout).strip())

          rows, wrong = nvidia_smi(QUERY, "--format=csv,noheader,nounits")
          gpus = [dict(zip(FIELDS, line.split(", "))) for line in rows or []]
          for gpu in gpus:
              gpu["memory_mib"] = int(gpu["memory_mib"]) if gpu.get("memory_mib", "").isdigit() else None
          asked = int(os.environ["ASKED"])  # where none were, the variable is Nomad's own environment's
          devices = [word for word in os.environ.get("NVIDIA_VISIBLE_DEVICES", "").split(",") if word and asked]
          report = {"node": os.environ["NODE"], "asked": asked, "devices": devices, "gpus": gpus}
          if rows is None:
              report["nvidia_smi"] = wrong
          else:
              report["listing"] = nvidia_smi("-L")[0] or []  # has the MIG instances, too
          print(json.dumps(report))
        EOT
        ]
      }

      env {
        NODE       = "${node.unique.name}"
        ASKED      = "${var.gpus}"
        NVIDIA_SMI = var.nvidia_smi
      }

      resources {
        cpu    = 100
        memory = 128

        dynamic "device" {
          for_each = var.gpus > 0 ? [var.gpus] : []
          iterator = gpus
          labels   = ["nvidia/gpu"]
          content {
            count = gpus.value
          }
        }
      }

      logs {
        max_files     = 2
        max_file_size = 5
      }
    }
  }
}
