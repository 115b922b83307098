"""What the core and its plugins owe each other: ranges of options, what a component has, what its methods return."""
