# Pinned by its digest, so that builds are repeatable. `docker pull python:3.13-slim` shows the newest one.
FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

LABEL org.opencontainers.image.title="Conveyor for Slack" \
  org.opencontainers.image.description="Approve or reject Conveyor access requests in Slack." \
  org.opencontainers.image.version="1.0.0" \
  org.opencontainers.image.licenses="MIT" \
  org.opencontainers.image.base.name="docker.io/library/python:3.13-slim"

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app

COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt

COPY . .
RUN useradd --system --uid 10001 conveyor && mkdir --mode=700 data && chown 10001 data
USER 10001

VOLUME /app/data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
  CMD ["python", "-c", "import http.client, os; app = http.client.HTTPConnection('127.0.0.1:' + os.environ.get('PORT', '8080'), timeout=4); app.request('GET', '/healthz'); raise SystemExit(app.getresponse().status != 200)"]
CMD ["python", "app.py"]
