"""What is measured: one file a benchmark, each with ``measure``, and ``be_part`` or ``alone`` for processes of its own."""
