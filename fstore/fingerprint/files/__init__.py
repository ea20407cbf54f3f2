"""Raw data in files of this host: which of a folder are read."""
