"""Serves one UID: leases slots to validators' jobs, publishes receipts."""
