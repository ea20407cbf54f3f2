"""What data are made of: canonical values, schemas, block digests, and the files that carry them."""
