"""Package indexes: where they are, who we are to them, what they have, and with which hashes."""
