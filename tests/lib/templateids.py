"""Layouts that change and come back in one session over a reliable transport: RFC 5471 sections 3.2.5 and 3.6.8."""

from dataclasses import replace

from exporter.profiles import FULL, OVS
from lib.receiver import StreamReceiver
from lib.sending import NOW, connect, exporter_to, ports, tick_until

CHANGES = ("ovs", "full", "ovs", "full")
FLOWS = 5


def check_template_ids(receiver: StreamReceiver) -> None:
    """Change the profile of an exporter three times; its templates come and go in order, and with them their data.

    The receiver's oracle refuses templates that are there already, withdrawals of others, and data behind them.
    """
    with exporter_to(receiver.target) as exporter:
        connect(exporter)
        for profile in CHANGES:
            exporter.reconfigure(replace(exporter.options, profile=profile), NOW)
            exporter.ingest(ports(FLOWS), FLOWS)
        tick_until(exporter, lambda: len(receiver.records()) == len(CHANGES) * FLOWS)
    (session,) = receiver.sessions
    told: dict[int, str] = {}
    for message in session.oracle.messages:
        for number in message.withdrawals:
            told[number] = told.get(number, "") + "-"
        for template in message.templates:
            told[template.id] = told.get(template.id, "") + "+"
    assert {told.pop(template.id) for template in OVS.templates} == {"+-+-"}
    # Of "full" the one that the flows use; samplingInterval's is not touched.
    last = session.oracle.records[-1].template.id
    assert last in {template.id for template in FULL.templates}
    assert told == {512: "+", last: "+-+"}
