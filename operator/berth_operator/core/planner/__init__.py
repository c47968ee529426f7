"""From what a user wants and what a card holds to a plan, or to why there is none."""
