"""Real trainings, each a straight file that a person reads top to bottom.

``lsmon demo NAME`` runs them, and so do the end-to-end tests.
They import torch and ``lsmon.probe`` only.
"""
