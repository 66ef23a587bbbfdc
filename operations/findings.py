"""What `check` finds: a mark and a sentence. It knows nothing of what is looked at."""

from urllib.parse import urlsplit

GOOD, ODD, BAD = "✓", "!", "✗"
Finding = tuple[str, str]  # one of these marks, and a sentence

# The kinds of errors with which a call ends without an answer (see deadline.py), and what to do.
CAUSES = {
    "CertificateError": "the certificate was not accepted. If a proxy here inspects HTTPS, put the path of "
    "its certificate into REQUESTS_CA_BUNDLE or SSL_CERT_FILE.",
    "SSLError": "what answers there does not speak TLS as it should.",
    "ProxyError": "the proxy did not let the call through. Look at HTTPS_PROXY and HTTP_PROXY.",
    "ConnectionError": "no connection. Can this machine reach it?",
}


def no_answer(url: str, error: Exception) -> str:
    """Return that a call to this URL got no answer, and why, without a password that the URL may hold."""
    parts = urlsplit(url)
    cause = CAUSES.get(str(error), f"{error}.")
    return f"no answer from {parts.scheme}://{parts.netloc.rpartition('@')[2]}: {cause}"
