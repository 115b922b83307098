"""The engine ``openvino``: networks as ONNX graphs, run by OpenVINO on the processors that everybody has."""
