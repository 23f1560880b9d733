"""The screen and the command line: store, view, widgets, screens, commands.

People call it (``lsmon``), beside training, over ssh, or on a recording.
It never imports torch or ``lsmon.probe``.
"""
