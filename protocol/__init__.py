"""What both ends agree on: frames, codec, wire, recording, sources, and what counts as an event.

The probe writes it, the screen reads it, and every command goes through it.
It never imports torch, textual or rich, nor anything of ``lsmon.probe`` and ``lsmon.tui``.
"""
