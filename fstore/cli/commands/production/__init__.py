"""Run fstore for a team."""
