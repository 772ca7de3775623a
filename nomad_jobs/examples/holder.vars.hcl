name           = "holder-h100"
executor_class = "always_on.gpu.h100"
short_code     = "h100"
gpus           = 1
model          = "H100"
memory_mib     = 81000
