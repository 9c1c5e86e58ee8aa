"""FTRL-Proximal of ctr beside that of other systems, on the same rows."""
