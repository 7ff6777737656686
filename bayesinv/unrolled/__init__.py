"""Floor 2: loop-unrolled networks around an operator. The room is kept; nothing lives in it yet."""
