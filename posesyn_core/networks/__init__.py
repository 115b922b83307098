"""Network parts that several model families share."""
