"""BlazePose GHUM (MediaPipe Pose): 33 landmarks in the image and in metres, a person detector and a person mask."""
