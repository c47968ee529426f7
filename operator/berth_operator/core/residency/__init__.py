"""Which engines a pool's pods hold: who stays, who goes, and who waits for whom."""
