"""A-NeRF: an articulated radiance field of one person, as an animator that brings its own people."""
