"""Every statement: manifest, jobs, upkeep, schema."""
