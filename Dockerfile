# mupd with Snakemake and its SLURM executor, in a CPU or a CUDA variant:
#
#   docker build -t mupd:cpu .
#   docker build -t mupd:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 .
#   docker run --rm -v "$PWD:/data" -w /data mupd:cpu snakemake -s /opt/mupd/Snakefile --cores all --configfile my.yaml
#
# A CUDA wheel of PyTorch brings its own CUDA libraries: the host needs the driver and the NVIDIA container toolkit only.
FROM python:3.11-slim-bookworm

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG TORCH_VERSION=2.13.0

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib

WORKDIR /opt/mupd
# First what changes seldom: the layer of packages is kept when the source changes.
COPY requirements.lock ./
# PyTorch from its own index, so that the variant is the one asked for; its line leaves the lock file for that.
RUN pip install "torch==${TORCH_VERSION}" --index-url "${TORCH_INDEX}" \
    && grep -v '^torch==' requirements.lock > /tmp/requirements.txt \
    && pip install -r /tmp/requirements.txt \
    && rm /tmp/requirements.txt
COPY . .
RUN pip install --no-deps --no-build-isolation . \
    && useradd --create-home --uid 1000 mupd
USER 1000
CMD ["mupd", "--help"]
