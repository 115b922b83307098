"""A third-party animator for PoseSyn."""
