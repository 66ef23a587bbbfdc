"""The form of what `check` finds: a mark and a sentence."""

from urllib.parse import urlsplit

GOOD, ODD, BAD = "✓", "!", "✗"
Finding = tuple[str, str]  # one of these marks, and a sentence

# The errors with which a call ends without an answer (see deadline.py), and what to do about them.
CAUSES = {
    "CertificateError": "the certificate was not accepted. If a proxy inspects HTTPS here, put the path of "
    "its certificate into REQUESTS_CA_BUNDLE or SSL_CERT_FILE.",
    "SSLError": "whatever answers there doesn't speak TLS properly.",
    "ProxyError": "the proxy did not let the call through. Check HTTPS_PROXY and HTTP_PROXY.",
    "ConnectionError": "no connection. Make sure that this machine can reach it.",
}


def no_answer(url: str, error: Exception) -> str:
    """Return a sentence: no answer from this URL, and why. A password in the URL is left out."""
    parts = urlsplit(url)
    cause = CAUSES.get(str(error), f"{error}.")
    return f"no answer from {parts.scheme}://{parts.netloc.rpartition('@')[2]}: {cause}"
