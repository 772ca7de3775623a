gpus = 1
run  = "after the driver's upgrade"
