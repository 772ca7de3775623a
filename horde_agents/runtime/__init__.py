"""Settings, loops, logs, metrics, health; no domain words."""
