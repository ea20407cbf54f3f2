"""Tests of other folders, run again over a store whose root is a bucket."""
