"""What a local stack says about itself, for its supervisor and for whoever connects."""
