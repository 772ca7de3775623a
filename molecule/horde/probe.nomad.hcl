# Stands in for a holder: takes one GPU of a node and says which it got.
job "probe" {
  type      = "batch"
  node_pool = "horde-gpu"

  group "probe" {
    restart {
      attempts = 0
      mode     = "fail"
    }

    task "probe" {
      driver = "raw_exec"
      user   = "horde"

      config {
        command = "/bin/sh"
        args    = ["-c", "echo got $NVIDIA_VISIBLE_DEVICES as $(id -un); docker version --format engine-{{.Server.Version}}"]
      }

      resources {
        cpu    = 50
        memory = 32

        device "nvidia/gpu" {
          constraint {
            attribute = "${device.attr.memory}"
            operator  = ">="
            value     = "48000 MiB"
          }
        }
      }
    }
  }
}
