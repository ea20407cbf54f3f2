"""Processes of a local stack: started, watched, restarted, told apart from strangers."""
