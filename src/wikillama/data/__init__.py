"""From dialogues on disk to batches: read, ground, format, encode, batch."""
