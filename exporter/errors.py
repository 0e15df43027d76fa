"""The exporting side's errors. Every message is one sentence that names the thing, the value and the way out."""


class ExporterError(Exception):
    """Base of all errors of the exporting side."""


class MessageTooLongError(ExporterError):
    """A record or template does not fit an IPFIX message of the allowed size (RFC 7011 section 10.3.3)."""


class DecodeError(ExporterError):
    """Octets that are no IPFIX message of RFC 7011."""
