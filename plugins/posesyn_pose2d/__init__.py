"""2D pose estimators from ONNX files, whose joints can stand in for annotations (Table 7)."""
