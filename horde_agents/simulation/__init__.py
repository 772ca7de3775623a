"""The subnet's economics, seeded: who earns what under Yuma consensus, honest or not. Pure."""
