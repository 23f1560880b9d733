"""Sockets between a training and its viewers: the probe's server, the viewer's client, and the relay for ssh."""
