"""The tests that RFC 5471 lists for IPFIX, by section, and which of them concern an exporter.

docs/ipfix.md has a row for each: the test here that is it, or why there is none. tests/unit/test_conformance.py holds
the table to this list and to the tests.
"""

# What an Exporting Process does, or must never do. Titles in our words.
EXPORTER = {
    "3.1.1": "connectivity over each transport and IP version",
    "3.2.1": "templates of fixed-size elements, every abstract data type",
    "3.2.2": "elements of variable length, alone and among fixed ones",
    "3.2.3": "padding of Sets",
    "3.2.4": "padding of records (paddingOctets)",
    "3.2.5.1": "withdrawal of a template",
    "3.2.5.2": "withdrawal of a template twice",
    "3.2.5.3": "withdrawal of a template that was never sent",
    "3.2.5.4": "withdrawal of all templates",
    "3.2.5.5": "withdrawal of all options templates",
    "3.3.1": "enterprise-specific elements",
    "3.3.2": "reduced-size encoding",
    "3.3.3": "one element several times in a template, together and apart",
    "3.4.1": "any element as a scope, enterprise-specific ones too; never no scope",
    "3.4.2": "several scopes, in their order",
    "3.4.3": "Metering Process Statistics",
    "3.4.4": "Metering Process Reliability Statistics",
    "3.4.5": "Exporting Process Reliability Statistics",
    "3.4.6": "Flow Keys: of a template that was sent, within its fields",
    "3.5.1": "many data records of one template",
    "3.5.2": "more records than the transport takes",
    "3.5.3": "the largest template",
    "3.5.4": "many templates in their lifetime",
    "3.5.5": "several exporters to one collector",
    "3.5.6": "one exporter to several collectors",
    "3.6.1": "the network goes and comes back",
    "3.6.2": "the exporter is killed and started again",
    "3.6.3": "the collector is killed and started again",
    "3.6.6": "data records that do not match their template: never sent",
    "3.6.8.1": "template ids used again over SCTP",
    "3.6.8.2": "template ids used again over TCP",
    "3.6.8.3": "template ids used again over UDP, inside the lifetime and after it",
    "3.7.1": "certificates of a private authority, identities as DNS names",
    "3.7.2": "TLS over TCP",
    "3.7.3": "DTLS over UDP",
    "3.7.4": "DTLS over SCTP",
    "3.7.7": "the collector has another identity than expected",
}

# Bad input: what a Collecting Process does with it. Ours (xdpfix collect) is a tool to look with.
COLLECTOR = {
    "3.6.4": "wrong Template and Options Template Records",
    "3.6.5": "wrong data records",
    "3.6.7": "unknown Set ids",
    "3.7.5": "an exporter without a certificate",
    "3.7.6": "the exporter has another identity than expected",
}
