"""2D pose estimators and person detectors from ONNX files: labels for pictures that have none (Table 7)."""
