"""One request: signed, sent within its time, its answer made out, and sent again where that can help."""
