"""Answers a batch's prompts with a pinned model: the program of the image ``horde/prompt-solver``."""
