"""The sockets: a listener of our own, live frames and history on the probe's side, a client and a relay stream on the viewer's."""
