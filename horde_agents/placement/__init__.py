"""Which UID each slot serves: slots, moves, and what is wrong with them. Pure: decides, performs nothing."""
