# PoseSyn on the CPU. Build from the repository's root, and mount the folder to work in:
#   docker build -f docker/cpu.Dockerfile -t posesyn .
#   docker run --rm -v $PWD:/work posesyn predict photo.jpg
FROM python:3.11-slim-bookworm

# torch.compile builds C++ kernels; everything else works without a compiler
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++=4:12.2.0-3 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/posesyn
COPY constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt --index-url https://download.pytorch.org/whl/cpu \
    --extra-index-url https://pypi.org/simple torch

COPY pyproject.toml README.md LICENSE ./
COPY posesyn_core posesyn_core
COPY plugins plugins
COPY engines engines
RUN pip install --no-cache-dir --constraint constraints.txt ".[onnx,video,hdf5,cdf]"

RUN useradd --create-home --uid 10001 posesyn && mkdir /work && chown posesyn /work
USER 10001
ENV POSESYN_CACHE=/home/posesyn/.cache/posesyn
WORKDIR /work
ENTRYPOINT ["posesyn"]
CMD ["--help"]
