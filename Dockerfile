# The daemon, as an ordinary user, on exactly the packages of requirements.lock.
FROM python:3.12-slim

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    NUMBA_CACHE_DIR=/var/lib/kraken-smc/numba

RUN groupadd --system --gid 10001 smc \
 && useradd --system --uid 10001 --gid smc --home-dir /var/lib/kraken-smc --create-home smc

WORKDIR /app
COPY requirements.lock ./
RUN pip install --require-hashes --only-binary :all: -r requirements.lock

COPY protocol ./protocol
COPY config ./config
COPY sim ./sim
COPY actors ./actors

USER smc
# State lives in the volume: ledger, paper exchange, latch, the compiled kernel.
VOLUME /var/lib/kraken-smc
ENV KRAKEN_SMC__STORE__DIRECTORY=/var/lib/kraken-smc/state

# SIGTERM: positions stay, protected by their stops on the exchange.
STOPSIGNAL SIGTERM
# Of the mode that CMD runs. A daemon that hangs still runs: what it published last must be young, too.
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
  CMD ["python", "-m", "actors", "status", "--json", "--within", "1m"]

ENTRYPOINT ["python", "-m", "actors"]
CMD ["run", "--mode", "paper", "--log", "json"]
