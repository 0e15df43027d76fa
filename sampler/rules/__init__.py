"""Flow rules: which packets a flow exporter samples, in the match syntax of ovs-ofctl(8)."""
