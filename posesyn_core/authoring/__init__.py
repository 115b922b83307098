"""For authors of plugins: a package to start from, and a trial of what it makes."""
