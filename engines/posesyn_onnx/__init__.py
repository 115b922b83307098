"""The engine ``onnx``: networks as ONNX graphs, run by ONNX Runtime on whatever it finds on the machine."""
