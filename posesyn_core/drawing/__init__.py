"""People on pictures: skeletons, boxes, and sheets of many people."""
