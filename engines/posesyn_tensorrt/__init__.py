"""The engine ``tensorrt``: networks compiled by NVIDIA's TensorRT (10 or 11) for the GPU at hand."""
