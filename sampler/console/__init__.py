"""How flows and figures look on a terminal."""
