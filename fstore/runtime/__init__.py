"""What every process carries: deadlines, fork safety, heartbeats, counters, spans, log lines."""
