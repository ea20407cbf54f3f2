"""Tests of ``fstore.s3``."""
