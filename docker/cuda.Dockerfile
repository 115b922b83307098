# PoseSyn on NVIDIA GPUs, with ONNX Runtime's GPU providers, TensorRT, and the libraries of Champ and LLaVA. It needs NVIDIA's
# container toolkit on the host. Build from the repository's root:
#   docker build -f docker/cuda.Dockerfile -t posesyn-cuda .
#   docker run --rm --gpus all -v $PWD:/work posesyn-cuda doctor
# CUDA 13, for which the wheels of PyTorch, ONNX Runtime and TensorRT on PyPI are built; the host needs a driver of 580 or later
FROM nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04

# torch.compile builds kernels with a C++ compiler and Python's headers
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3.12 python3.12-venv python3.12-dev g++ \
    && rm -rf /var/lib/apt/lists/*

RUN python3.12 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH

WORKDIR /opt/posesyn
COPY constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt torch

COPY pyproject.toml README.md LICENSE ./
COPY posesyn_core posesyn_core
COPY plugins plugins
COPY engines engines
RUN pip install --no-cache-dir --constraint constraints.txt --extra-index-url https://pypi.nvidia.com \
    ".[onnx-gpu,tensorrt,champ,llava,clip,video,hdf5,cdf]"

RUN useradd --create-home --uid 10001 posesyn && mkdir /work && chown posesyn /work
USER 10001
ENV POSESYN_CACHE=/home/posesyn/.cache/posesyn
WORKDIR /work
ENTRYPOINT ["posesyn"]
CMD ["--help"]
