"""The ComputeHorde wire: messages, signatures, quirks. Pure."""
