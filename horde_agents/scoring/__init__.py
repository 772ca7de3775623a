"""From measured work to weights: cycles, shares, points, bonuses. Pure."""
