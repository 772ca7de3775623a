"""The validator: takes users' jobs from facilitators, has miners run them, and signs what happened."""
