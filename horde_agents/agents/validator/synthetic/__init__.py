"""Synthetic batches: planned in private, fired at one instant, judged with a reason for each job."""
